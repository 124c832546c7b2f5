"""The space of a search: which config keys vary, over which values; checked before the first trial runs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf, open_dict

from recsys_lora.config.check import mismatches
from recsys_lora.config.hints import suggestion
from recsys_lora.config.record import RunConfig
from recsys_lora.config.roles import leaves
from recsys_lora.utils.errors import UserError

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

_NODE = "search.space"
_RANGE_KEYS = ("low", "high", "log", "step")
_SEARCHABLE = [
    *(key for key, _, role in RunConfig.values() if role.tunable),
    *(
        f"{key}.{part}"
        for key, _, role in RunConfig.values()
        for part, own in role.parts.items()
        if own.tunable > role.tunable
    ),
]
"""Keys that may vary, with all keys below them: any other would change what is measured, or nothing."""

Scalar = bool | int | float | str | None


@dataclass(frozen=True)
class Choices:
    """One of several values; lists are suggested as JSON, which the storage can keep."""

    values: tuple[Any, ...]

    def suggest(self, trial: "BaseTrial", key: str) -> Any:
        """Return the value that a trial proposes."""
        named = {_storable(value): value for value in self.values}
        return named[trial.suggest_categorical(key, list(named))]

    def ends(self) -> tuple[Any, ...]:
        """Return the values to check."""
        return self.values

    def __str__(self) -> str:
        return json.dumps(self.values)


@dataclass(frozen=True)
class Range:
    """Integers if both ends are integers, else floats; both ends included.

    Attributes:
        low: the smallest value.
        high: the largest.
        log: sample uniformly in the logarithm.
        step: from one value to the next, starting at `low`; None: 1 for integers, any for floats.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def suggest(self, trial: "BaseTrial", key: str) -> Any:
        """Return the value that a trial proposes."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(key, self.low, self.high, step=int(self.step or 1), log=self.log)
        return trial.suggest_float(key, float(self.low), float(self.high), step=self.step, log=self.log)

    def ends(self) -> tuple[Any, ...]:
        """Return the values to check."""
        return (self.low, self.high)

    def __str__(self) -> str:
        return f"{self.low}..{self.high}{' log' if self.log else ''}{f' step {self.step}' if self.step else ''}"


Space = Mapping[str, Choices | Range]


def read_space(node: Mapping[str, Any]) -> Space:
    """Return the space that a config node describes, by dotted key.

    Raises:
        UserError: it is empty, or an entry is neither choices nor a range.
    """
    space: dict[str, Choices | Range] = {}
    for key, entry in leaves(node, whole=_RANGE_KEYS):
        if key in space:
            raise UserError(f"{_NODE}.{key}: listed twice: keep one")
        space[key] = _read(entry, f"{_NODE}.{key}")
    if not space:
        raise UserError(f"{_NODE}: empty: name at least one config key, as model.rank: [4, 8]")
    return space


def check_space(cfg: DictConfig, space: Space) -> None:
    """Check that every key exists in the config and every choice and end of a range fits it.

    Args:
        cfg: the composed config, valid without the space.
        space: the space; values are checked one key at a time, so a bad combination fails only in its trial.

    Raises:
        UserError: names the invalid key, and what would be valid.
    """
    known = OmegaConf.to_container(cfg, resolve=False)
    for key, entry in space.items():
        if not any(key == root or key.startswith(f"{root}.") for root in _SEARCHABLE):
            raise UserError(f"{_NODE}.{key}: cannot be searched: what can is below {', '.join(_SEARCHABLE)}")
        _find(known, key)
        for value in entry.ends():
            root = key.partition(".")[0]
            tried = OmegaConf.to_container(chosen(cfg, {key: value}), resolve=True)
            assert isinstance(tried, dict)
            if found := mismatches(tried[root], root):
                raise UserError(f"{_NODE}.{key}: {found[0]}")


def chosen(cfg: DictConfig, values: Mapping[str, Any]) -> DictConfig:
    """Return a copy of a config with some values set."""
    made = cfg.copy()
    with open_dict(made):
        for key, value in values.items():
            OmegaConf.update(made, key, value, merge=False)
    return made


def _read(entry: Any, place: str) -> Choices | Range:
    if isinstance(entry, Sequence) and not isinstance(entry, str) and entry:
        if len({_storable(value) for value in entry}) < len(entry):
            raise UserError(f"{place}: a choice is listed twice: keep one")
        return Choices(tuple(entry))
    if not isinstance(entry, Mapping) or not {"low", "high"} <= set(entry):
        raise UserError(f"{place}={entry}: neither choices nor a range: write [4, 8] or {{low: 4, high: 8}}")
    if unknown := [str(key) for key in entry if key not in _RANGE_KEYS]:
        raise UserError(f"{place}.{unknown[0]}: no part of a range: {suggestion(unknown[0], _RANGE_KEYS)}")
    if not isinstance(entry.get("log", False), bool):
        raise UserError(f"{place}.log={entry['log']}: has to be true or false")
    made = Range(**{str(key): value for key, value in entry.items()})
    if problem := _problem(made):
        raise UserError(f"{place}: {problem}")
    return made


def _problem(found: Range) -> str | None:
    """Return what is wrong with a range, None if nothing is."""
    if not _is_number(found.low) or not _is_number(found.high):
        return f"low={found.low} and high={found.high} have to be numbers"
    if not found.low < found.high:
        return f"low={found.low} is not below high={found.high}"
    if found.log and found.low <= 0:
        return f"log: true needs low above 0, not {found.low}"
    if found.step is None:
        return None
    whole = isinstance(found.low, int) and isinstance(found.high, int)
    if not _is_number(found.step) or found.step <= 0 or (whole and not isinstance(found.step, int)):
        return f"step={found.step} has to be a number above 0, and whole where low and high are"
    return "log and step cannot both be given" if found.log else None


def _find(known: Any, key: str) -> None:
    """Refuse a key that names no value of the config."""
    node, path = known, ""
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            names = [f"{path}.{name}" for name in node if not str(name).startswith("_")] if path and node else []
            valid = suggestion(f"{path}.{part}", names) if isinstance(node, Mapping) else f"{path} has no parts"
            raise UserError(f"{_NODE}.{key}: no such key in the config: {valid}")
        node, path = node[part], f"{path}.{part}" if path else part
    if isinstance(node, Mapping):
        raise UserError(f"{_NODE}.{key}: a group of values: name one of {', '.join(f'{key}.{name}' for name in node)}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _storable(value: Any) -> Scalar:
    return value if isinstance(value, Scalar) else json.dumps(value)
