"""Which code the config of a bundle may name: a bundle comes from elsewhere, and a config's `_target_`s are called."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.utils import get_object

from recsys_lora.utils.errors import UserError

_KNOWN = ("recsys_lora", "lightning")
_BUILT = ("cf.encoder", "model", "llm", "task")
"""The nodes of which loading makes objects: these may name classes alone, which do nothing but be made."""


def check_targets(config: Mapping[str, Any], trusted: Sequence[str] = ()) -> None:
    """Refuse a config that names code of packages that are not trusted, or functions where loading builds.

    Args:
        config: plain containers.
        trusted: packages besides this one and Lightning.

    Raises:
        UserError: it does so; the line names the key.
    """
    for key, target in targets(config):
        package = target.partition(".")[0]
        if package not in (*_KNOWN, *trusted):
            raise UserError(
                f"{key}={target}: this bundle runs code of the package {package}: if you trust both, "
                f"recsys_lora.load(BUNDLE, trust=[{package!r}])"
            )
        if key.startswith(_BUILT) and package in _KNOWN and not inspect.isclass(get_object(target)):
            raise UserError(f"{key}={target}: this bundle calls a function where a class belongs: do not load it")


def targets(node: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """Yield the key and the value of every `_target_`, at any depth."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            key = f"{at}.{name}" if at else str(name)
            if name == "_target_":
                yield key, str(value)
            else:
                yield from targets(value, key)
    elif isinstance(node, list):
        for place, value in enumerate(node):
            yield from targets(value, f"{at}[{place}]")
