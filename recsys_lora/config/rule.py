"""A rule about settings that depend on each other: an option of a method, and what it needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from recsys_lora.config.located import located

Kind = Literal["impossible", "idle", "noted"]
"""`impossible`: no run can have it; `idle`: it is set and has no effect, which is refused, too; `noted`: the same for
options that presets set for all variants of a method, so that a run only logs it."""


@dataclass(frozen=True)
class MethodSettings:
    """The settings of one method, and the whole config that they are part of.

    Attributes:
        at: `model` or `first`.
        config: plain containers, interpolations resolved.
    """

    at: str
    config: Mapping[str, Any]

    def get(self, option: str, default: Any = None, at: str | None = None) -> Any:
        """Return the value of a dotted option of this method, or of the one at `at`."""
        value: Any = self.config[at or self.at]
        for part in option.split("."):
            if not isinstance(value, Mapping) or part not in value:
                return default
            value = value[part]
        return value

    def __getitem__(self, option: str) -> Any:
        return self.get(option)

    def has(self, ability: str) -> bool:
        """Return whether an attribute of the method's class, which names an ability, is true."""
        return bool(getattr(located(self["_target_"]), ability, False))

    @property
    def yes_or_no(self) -> list[bool]:
        """For each task, whether it asks yes-or-no questions; empty if the data decide the tasks (`tasks=null`)."""
        known = self.config.get("task") or {}
        asked = [known.get(name) for name in self.config.get("tasks") or []]
        targets = [task["_target_"] for task in asked if isinstance(task, Mapping) and "_target_" in task]
        return [bool(getattr(located(target), "is_binary", False)) for target in targets]


@dataclass(frozen=True)
class Rule:
    """What an option needs.

    Attributes:
        option: its dotted key below the method.
        off: the value at which it needs nothing.
        holds: whether it has what it needs.
        line: why, and what to do; `{at}` stands for the method's place, `{own[OPTION]}` for the value of an option.
        kind: what it means if it does not.
    """

    option: str
    off: Any
    holds: Callable[[MethodSettings], bool]
    line: str
    kind: Kind = "impossible"

    def broken(self, own: MethodSettings) -> str | None:
        """Return the message for an option that lacks what it needs; None if it lacks nothing, or is off."""
        value = own.get(self.option, self.off)
        if value == self.off or self.holds(own):
            return None
        shown = str(value).lower() if isinstance(value, bool) else value
        return f"{own.at}.{self.option}={shown}: {self.line.format(at=own.at, own=own)}"


def has(option: str, *values: Any) -> Callable[[MethodSettings], bool]:
    """Return a check whether another option has one of some values; a method without that option passes."""
    return lambda own: own.get(option, values[0]) in values


def has_not(option: str, *values: Any) -> Callable[[MethodSettings], bool]:
    """Return a check whether another option has none of some values."""
    return lambda own: own.get(option) not in values
