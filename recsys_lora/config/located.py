"""The object that a dotted name in a config refers to, or why there is none."""

import importlib
import inspect
import logging
from typing import Any

from hydra.utils import get_object

from recsys_lora.config.hints import suggestion

_LOG = logging.getLogger("hydra.utils")


def located(target: str) -> Any:
    """Return the object that a dotted name refers to; may raise anything, like an import, without Hydra logging it."""
    before, _LOG.disabled = _LOG.disabled, True
    try:
        return get_object(target)
    finally:
        _LOG.disabled = before


def why_not(target: str, error: Exception) -> str:
    """Return in a few words why a dotted name refers to nothing, given what `located` raised."""
    module, _, name = target.rpartition(".")
    try:
        found = importlib.import_module(module)
    except Exception:  # the module itself cannot be imported
        return str(error.__cause__ or error).splitlines()[0]
    own = [one for one, what in vars(found).items() if getattr(what, "__module__", None) == module and callable(what)]
    classes = [one for one in own if inspect.isclass(getattr(found, one))]
    return f"{module} has no {name}: {suggestion(name, classes or own)}"
