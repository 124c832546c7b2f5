"""What the rows of a comparison are called: model and encoder, and as few settings as tell namesakes apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from recsys_lora.report.published import row_name
from recsys_lora.report.runs import Run
from recsys_lora.tasks.task import letter

_LONGEST = 48
"""Characters of a label; where one is longer, the rows are called by letters."""
_SHOWN_OF_A_LIST = 3
"""A longer list is written by its ends, where these still tell it from the other rows' lists."""
_READABLE = 24
"""Characters of a value: a setting with longer ones is named only where no other tells the same rows apart."""


@dataclass(frozen=True)
class Named:
    """A configuration's name.

    Attributes:
        label: differs from every other's.
        settings: config keys that differ among its namesakes and are not in the label, with this one's values.
    """

    label: str
    settings: dict[str, str] = field(default_factory=dict)


def named(runs: Sequence[Run]) -> list[Named]:
    """Return what to call configurations, given a run of each.

    Of the settings in which namesakes differ the label has the fewest that tell all of them apart, the first such in
    the order of the config whose values are readable; each by the shortest end of its key that no other key of the
    config shares. A setting that has another's values in all namesakes, as a first stage's prompt has, is left out.
    Where one of these labels is long, the namesakes are called A, B, ... instead, and the settings are all in
    `settings`.
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
    """Return the fewest keys by which no two of the configurations are alike, the first such in their order."""
    parts: dict[tuple[int, ...], list[str]] = {}  # keys that part the configurations the same way
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
    """Return configurations without the keys that differ just as an earlier key does, value by value."""
    earlier: dict[tuple[str | None, ...], str] = {}
    for key in dict.fromkeys(key for other in alike for key in other):
        values = tuple(other.get(key) for other in alike)
        if len(set(values)) > 1:
            earlier.setdefault(values, key)
    same = {key: earlier.get(tuple(other.get(key) for other in alike), key) for other in alike for key in other}
    return [{key: value for key, value in other.items() if same[key] == key} for other in alike]


def _tail(key: str, config: Mapping[str, str]) -> str:
    """Return the shortest end of a dotted key that names no other key."""
    parts = key.split(".")
    tails = [".".join(parts[place:]) for place in range(len(parts) - 1, 0, -1)]
    return next((tail for tail in tails if sum(f".{other}".endswith(f".{tail}") for other in config) == 1), key)


def _value(key: str, own: Mapping[str, str], alike: Sequence[Mapping[str, str]]) -> str:
    """Return a setting's value, a long list by its ends where these are its alone."""
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
    """Return a run's configuration, each value on one line, the language model's own name before its settings."""
    llm = run.metrics["llm"]
    known = {} if llm is None else {"llm": str(llm)}
    return known | {key: value.replace("\n", r"\n") for key, value in run.configuration.items()}
