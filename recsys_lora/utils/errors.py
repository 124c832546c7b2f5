"""The exception for users' mistakes, and its messages about missing packages and other libraries' exceptions."""

import importlib.util
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class UserError(Exception):
    """Bad input: the message is one line that says what is wrong, where, and what to do.

    Only the outermost command line catches it and prints it; everything below lets it pass, so that one bad job
    of a sweep does not end the others.
    """


@contextmanager
def at(place: str) -> Iterator[None]:
    """Prefix a `UserError` of this block with the config key it is about."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{place}: {error}") from error


def require(extra: str, *modules: str, by: str = "", otherwise: str = "") -> None:
    """Raise if packages that something needs are not installed.

    Args:
        extra: the extra of this package that installs them.
        modules: the modules that are imported.
        by: what needs them, such as `logger=wandb`; "" if the command says it.
        otherwise: an alternative, for the message.

    Raises:
        UserError: one is not installed.
    """
    if missing := ", ".join(name.replace("_", "-") for name in modules if importlib.util.find_spec(name) is None):
        needed_by = f"{by}: " if by else ""
        raise UserError(f"{needed_by}{missing} is not installed: pip install 'recsys-lora[{extra}]'{otherwise}")


@contextmanager
def first_stage(keys: Iterable[str]) -> Iterator[None]:
    """Reword a `UserError` of this block for a run's first stage: `first.rank`, not `model.rank`.

    Args:
        keys: the config keys below `first`; other names with dots stay.
    """
    try:
        yield
    except UserError as error:
        named = rf"(?<![\w./])model\.(?=(?:{'|'.join(map(re.escape, keys))})\b)"
        raise UserError(f"first stage: {re.sub(named, 'first.', str(error))}") from error


def first_problem(error: "ValidationError") -> str:
    """Return where a record first violates its schema, and why."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"


def refused(key: str, value: object, error: "ValidationError") -> str:
    """Return a line about a setting whose value has the wrong type.

    Settings without a `_target_` in the place of an object belong to something that was not chosen.
    """
    kinds = {detail["type"] for detail in error.errors()}
    if isinstance(value, dict) and kinds & {"dataclass_exact_type", "is_instance_of"}:
        reason = f"settings of something that was not chosen: leave them out by ~{key}, or add {key}._target_"
        return f"{key}={value}: {reason}"
    wanted = {"dict_type": "Input should be names and values, as {name: value}"}
    reasons = dict.fromkeys(wanted.get(detail["type"], detail["msg"]) for detail in error.errors())
    return f"{key}={value}: {' or '.join(reasons)}"
