"""Checks that a run's scores match its metrics.json; both are files that anybody can change."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recsys_lora.evaluation.bootstrap import Statistic
from recsys_lora.utils.errors import UserError

TOLERANCE = 1e-4
"""Absolute, and relative for metrics above 1: versions of libraries differ by less, and tables show no more digits."""


def refuse_contradiction(path: Path, line: Mapping[str, Any], found: Sequence[Statistic]) -> None:
    """Compare the metrics recomputed from the scores in a file with a line of metrics.json.

    Raises:
        UserError: a metric differs.
    """
    said = line["metrics"]
    for statistic in found:
        if statistic.name in said and not alike(statistic.value(), said[statistic.name]["value"]):
            raise contradiction(path, statistic.name, statistic.value(), said[statistic.name]["value"])


def alike(first: float | None, second: float | None) -> bool:
    """Return whether two values of a metric are equal up to `TOLERANCE`."""
    if first is None or second is None:
        return first is second
    return abs(first - second) <= TOLERANCE * max(1.0, abs(second))


def contradiction(path: Path, what: str, found: object, told: object) -> UserError:
    """Return the error about a file that disagrees with metrics.json."""
    return UserError(
        f"{path}: its {what} is {found}, metrics.json beside it says {told}: one of them has been changed: run it "
        "again, or leave this run out"
    )
