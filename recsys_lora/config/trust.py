"""Which code a recorded config may name: its `_target_`s are called, and it may come from someone else.

A config that a user composes, from this package's conf/, folders of their own and the command line, may name any code.
One from a run's folder or bundle may name only code defined in the packages below and in those that the user trusts by
name. Where an object is defined counts as well: `recsys_lora.utils.files.os.system` belongs to `os`.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from recsys_lora.config.located import located
from recsys_lora.utils.errors import UserError

OWN = ("recsys_lora", "torch.optim")
KNOWN = (*OWN, "lightning")
BUILT = ("cf.encoder", "model", "llm", "task")
"""The nodes that loading makes objects of: they may name only classes, which are merely instantiated."""


def check_targets(config: Mapping[str, Any], trusted: Sequence[str] = ()) -> None:
    """Refuse a recorded config that names untrusted code, or a function in a node of `BUILT`.

    Args:
        config: plain containers.
        trusted: packages or modules besides `KNOWN`, such as `my_package`.

    Raises:
        UserError: it does so; the message names the key.
    """
    for key, target in targets(config):
        if _within(target, trusted):
            continue
        built = any(key.startswith(f"{node}.") for node in BUILT)
        known = OWN if built else KNOWN
        if not _within(target, known):
            raise _refused(key, target, target)
        try:
            found: Any = located(target)
        except Exception as error:  # importing may raise anything
            raise UserError(f"{key}={target}: there is no such code in this version: do not load it") from error
        if not _within(home := str(getattr(found, "__module__", None)), known):
            raise _refused(key, target, home)
        if built and not inspect.isclass(found):
            raise UserError(f"{key}={target}: a function is called where a class belongs: do not load it")


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


def packages(text: str | None) -> tuple[str, ...]:
    """Return the packages in a comma-separated setting."""
    return tuple(name for part in (text or "").split(",") if (name := part.strip()))


def _within(name: str, prefixes: Sequence[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def _refused(key: str, target: str, place: str) -> UserError:
    package = place.partition(".")[0]
    return UserError(
        f"{key}={target}: this config runs code of {package}: if you trust its author, say trust={package} "
        f"(compare: --trust {package}; Python: trust=[{package!r}])"
    )
