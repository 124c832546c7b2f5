"""A rule about settings that need each other: an option of a method, and what it cannot do without."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from recsys_lora.config.located import located

Kind = Literal["impossible", "idle", "noted"]
"""`impossible`: no run can have it; `idle`: it is set and has no effect, which is refused, too; `noted`: the same of
options that presets set for all variants of a method, so that a run says it and goes on."""


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
        """Return the value of a dotted option, of this method or of the one at another place."""
        value: Any = self.config[at or self.at]
        for part in option.split("."):
            if not isinstance(value, Mapping) or part not in value:
                return default
            value = value[part]
        return value

    def __getitem__(self, option: str) -> Any:
        return self.get(option)

    def has(self, ability: str) -> bool:
        """Return an attribute of the method's class that says whether it can or has something."""
        return bool(getattr(located(self["_target_"]), ability, False))

    @property
    def yes_or_no(self) -> list[bool]:
        """Which of the tasks are yes-or-no questions; empty where the data decide what is asked (`tasks=null`)."""
        known = self.config.get("task") or {}
        asked = [known.get(name) for name in self.config.get("tasks") or []]
        targets = [task["_target_"] for task in asked if isinstance(task, Mapping) and "_target_" in task]
        return [bool(getattr(located(target), "is_binary", False)) for target in targets]


@dataclass(frozen=True)
class Rule:
    """What an option needs.

    Attributes:
        option: its dotted key below the method.
        off: the value at which it asks for nothing.
        holds: whether it has what it needs.
        line: why, and what to do; `{at}` stands for the method's place, `{own[OPTION]}` for the value of an option.
        kind: what it means where it has not.
    """

    option: str
    off: Any
    holds: Callable[[MethodSettings], bool]
    line: str
    kind: Kind = "impossible"

    def broken(self, own: MethodSettings) -> str | None:
        """Return the line about an option that lacks what it needs; None where it does not, or is off."""
        value = own.get(self.option, self.off)
        if value == self.off or self.holds(own):
            return None
        shown = str(value).lower() if isinstance(value, bool) else value
        return f"{own.at}.{self.option}={shown}: {self.line.format(at=own.at, own=own)}"


def has(option: str, *values: Any) -> Callable[[MethodSettings], bool]:
    """Return whether another option has one of some values; a method without that option is not judged."""
    return lambda own: own.get(option, values[0]) in values


def has_not(option: str, *values: Any) -> Callable[[MethodSettings], bool]:
    """Return whether another option has none of some values."""
    return lambda own: own.get(option) not in values
