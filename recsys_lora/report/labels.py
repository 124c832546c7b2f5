"""Labels of a comparison's rows: model and encoder, and the fewest settings that distinguish rows of one name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from recsys_lora.report.published import row_name
from recsys_lora.report.runs import Run
from recsys_lora.tasks.task import letter

_LONGEST = 48
"""Maximum length of a label, in characters; if one is longer, the rows are named by letters."""
_SHOWN_OF_A_LIST = 3
"""A longer list is abbreviated to its ends if these still distinguish it from the other rows' lists."""
_READABLE = 24
"""Characters of a value: a setting with longer values is used only if no other distinguishes the same rows."""


@dataclass(frozen=True)
class Named:
    """A configuration's name.

    Attributes:
        label: unique label.
        settings: further config keys that differ among configurations of this name, with this one's values.
    """

    label: str
    settings: dict[str, str] = field(default_factory=dict)


def named(runs: Sequence[Run]) -> list[Named]:
    """Return the names of configurations, given a run of each.

    For configurations of the same name, labels have the fewest settings that distinguish all of them, the first such
    choice in the order of the config with readable values. A setting is written with the shortest end of its key that
    is unique in the config. One that always has the value of another, like the prompt of a first stage, is left out.
    If a label is too long, the configurations are called A, B, ... instead, and `settings` has all the settings.
    """
    names = [row_name(run.metrics["model"], run.metrics["cf"]) for run in runs]
    described = [_described(run) for run in runs]
    result = []
    for own, name in zip(described, names, strict=True):
        alike = [other for other, its in zip(described, names, strict=True) if its == name]
        place = alike.index(own)
        alike = _without_copies(alike)
        own = alike[place]
        keys = dict.fromkeys(key for other in alike for key in other)
        differing = [key for key in keys if len({other.get(key) for other in alike}) > 1]
        chosen = _telling(differing, alike)
        labels = [_label(name, chosen, other, alike) for other in alike]
        if max(map(len, labels)) > _LONGEST:
            labels = [f"{name}, {letter(number)}" for number in range(len(alike))]
            chosen = ()
        rest = {key: own[key] for key in differing if key in own and key not in chosen}
        result.append(Named(labels[place], rest))
    return result


def _label(name: str, chosen: Sequence[str], own: Mapping[str, str], alike: Sequence[Mapping[str, str]]) -> str:
    return ", ".join([name, *(f"{_tail(key, own)}={_value(key, own, alike)}" for key in chosen if key in own)])


def _telling(keys: Sequence[str], alike: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """Return the fewest keys that distinguish all configurations, the first such choice in order."""
    parts: dict[tuple[int, ...], list[str]] = {}  # keys that partition the configurations the same way
    for key in keys:
        values = [other.get(key) for other in alike]
        parts.setdefault(tuple(values.index(value) for value in values), []).append(key)

    def length(key: str) -> int:
        return max(_READABLE, *(len(other.get(key, "")) for other in alike))

    first = [min(same, key=length) for same in parts.values()]
    for number in range(len(first) + 1):
        for chosen in combinations(first, number):
            if len({tuple(other.get(key) for key in chosen) for other in alike}) == len(alike):
                return chosen
    return tuple(first)


def _without_copies(alike: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return configurations without the keys that have the same differing values as an earlier key."""
    earlier: dict[tuple[str | None, ...], str] = {}
    for key in dict.fromkeys(key for other in alike for key in other):
        values = tuple(other.get(key) for other in alike)
        if len(set(values)) > 1:
            earlier.setdefault(values, key)
    same = {key: earlier.get(tuple(other.get(key) for other in alike), key) for other in alike for key in other}
    return [{key: value for key, value in other.items() if same[key] == key} for other in alike]


def _tail(key: str, config: Mapping[str, str]) -> str:
    """Return the shortest end of a dotted key that no other key shares."""
    parts = key.split(".")
    tails = [".".join(parts[place:]) for place in range(len(parts) - 1, 0, -1)]
    return next((tail for tail in tails if sum(f".{other}".endswith(f".{tail}") for other in config) == 1), key)


def _value(key: str, own: Mapping[str, str], alike: Sequence[Mapping[str, str]]) -> str:
    """Return a setting's value; a long list is abbreviated to its ends if these are unique."""
    values = {other[key] for other in alike if key in other}
    short = _ends(own[key])
    return _compact(own[key]) if sum(_ends(value) == short for value in values) > 1 else short


def _ends(text: str) -> str:
    parts = _compact(text).split(",")
    is_long_list = text.startswith("[") and len(parts) > _SHOWN_OF_A_LIST
    return f"{parts[0]},…,{parts[-1]}" if is_long_list else _compact(text)


def _compact(text: str) -> str:
    return text.replace("'", "").replace(", ", ",") if text.startswith("[") else text


def _described(run: Run) -> dict[str, str]:
    """Return a run's configuration, each value on one line, with the language model's name first."""
    llm = run.metrics["llm"]
    known = {} if llm is None else {"llm": str(llm)}
    return known | {key: value.replace("\n", r"\n") for key, value in run.configuration.items()}
