"""Roles of config values. Fingerprints, comparisons and the space of a search follow from them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any, Literal

Stage = Literal["prepare", "cf", "method", "test", "frozen", "report"]
"""The stages of a run; `frozen` is the part of the test that the language model alone answers."""


class Kind(Enum):
    """The kinds of config values."""

    RESULT = "decides what the stages named by its role make"
    COST = "changes memory or time; results agree up to rounding"
    CONTROL = "says which stages run"
    LABEL = "names the run"
    SOURCE = "says where input lies, whose content counts, or is read by other values alone"
    PLACE = "says where the run writes"
    DISPLAY = "changes what is shown or logged"


@dataclass(frozen=True)
class Role:
    """The role of a value.

    Attributes:
        kind: what the value does.
        stages: those that use the value themselves; later ones depend on their results.
        by_content: a stage's key includes the content of what the value names, not the value.
        tunable: a search may vary it.
        off: values at which an option does nothing: they are left out of keys, so that keys from before it stay valid.
        parts: keys below this one with another role, as patterns (`*.folder`); the first match applies.
    """

    kind: Kind
    stages: tuple[Stage, ...] = ()
    by_content: bool = False
    tunable: bool = False
    off: tuple[Any, ...] = ()
    parts: Mapping[str, "Role"] = field(default_factory=dict)

    def decides(self, stage: Stage) -> bool:
        """Return whether the value itself is part of a stage's key."""
        return self.kind is Kind.RESULT and stage in self.stages and not self.by_content

    def but(self, parts: Mapping[str, "Role"]) -> "Role":
        """Return this role with other roles for parts of the value."""
        return replace(self, parts=parts)

    def off_at(self, *values: Any) -> "Role":
        """Return this role for an option that does nothing at these values."""
        return replace(self, off=values)

    def below(self, key: str) -> "Role":
        """Return the role of a dotted key below this value; an empty key is the value itself."""
        for pattern, role in self.parts.items():
            if fnmatchcase(key, pattern) or key.startswith(f"{pattern}."):
                return role
        return self


def result(*stages: Stage, by_content: bool = False, tunable: bool = False) -> Role:
    """Return the role of a value that decides what these stages make."""
    return Role(Kind.RESULT, stages, by_content, tunable)


def cost(*stages: Stage) -> Role:
    """Return the role of a value that changes the memory or time of these stages."""
    return Role(Kind.COST, stages)


CONTROL = Role(Kind.CONTROL)
LABEL = Role(Kind.LABEL)
SOURCE = Role(Kind.SOURCE)
PLACE = Role(Kind.PLACE)
DISPLAY = Role(Kind.DISPLAY)


def leaves(node: Mapping[str, Any], at: str = "", whole: Sequence[str] = ()) -> Iterator[tuple[str, Any]]:
    """Yield the values of nested mappings by their dotted keys.

    Lists, empty mappings and mappings with a key of `whole` count as values.
    """
    for name, value in node.items():
        key = f"{at}.{name}" if at else str(name)
        if isinstance(value, Mapping) and value and not any(name in value for name in whole):
            yield from leaves(value, key, whole)
        else:
            yield key, value


def selected(node: Mapping[str, Any], keep: Callable[[str], bool], at: str = "") -> dict[str, Any]:
    """Return nested mappings with only the values whose dotted keys are to be kept."""
    found: dict[str, Any] = {}
    for name, value in node.items():
        key = f"{at}.{name}" if at else str(name)
        if isinstance(value, Mapping) and value:
            if inner := selected(value, keep, key):
                found[str(name)] = inner
        elif keep(key):
            found[str(name)] = value
    return found
