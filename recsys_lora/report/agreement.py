"""Whether a run's scores are those that its metrics.json was made of; both are files that anybody can change."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recsys_lora.evaluation.bootstrap import Statistic
from recsys_lora.utils.errors import UserError

TOLERANCE = 1e-4
"""Of a metric, and of its size where that is above 1: versions of libraries differ by less, tables show no more."""


def refuse_contradiction(path: Path, line: Mapping[str, Any], found: Sequence[Statistic]) -> None:
    """Compare the metrics of the scores in a file, computed anew, with a line of metrics.json.

    Raises:
        UserError: a metric is another one.
    """
    said = line["metrics"]
    for statistic in found:
        if statistic.name in said and not alike(statistic.value(), said[statistic.name]["value"]):
            raise contradiction(path, statistic.name, statistic.value(), said[statistic.name]["value"])


def alike(first: float | None, second: float | None) -> bool:
    """Return whether two values of a metric are one, up to `TOLERANCE`."""
    if first is None or second is None:
        return first is second
    return abs(first - second) <= TOLERANCE * max(1.0, abs(second))


def contradiction(path: Path, what: str, found: object, told: object) -> UserError:
    """Return the error about a file with something else than metrics.json says."""
    return UserError(
        f"{path}: its {what} is {found}, metrics.json beside it says {told}: one of them has been changed: run it "
        "again, or leave this run out"
    )
