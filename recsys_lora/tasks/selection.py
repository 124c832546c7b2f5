"""Which rows of a split a task asks about, and how many of them."""

import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Len
from numpy.typing import NDArray

from recsys_lora.data.prepared import PreparedData, Rows
from recsys_lora.data.schema import SplitName
from recsys_lora.utils.types import NonNegativeInt

log = logging.getLogger(__name__)

Limit = int | Literal["published"] | None
"""How many questions: a number, all (None), or those of the rows on which published work validates."""
HistoryRange = Annotated[Sequence[NonNegativeInt], Len(2, 2)]
"""Minimum and maximum."""


@dataclass(frozen=True)
class Limits:
    """How many questions a run asks, and which.

    Attributes:
        train: training questions of the task with the largest share; others have them in proportion to their shares,
            so a task alone has as many as among others. None for all.
        valid: validation questions per task; None for all, "published" for those of the rows that published work uses.
        test: test questions per task; None for all.
        test_users: how many users to test on, as `PreparedData.with_test_users` draws them; None for all.
        seed: decides the questions.
    """

    train: int | None = None
    valid: Limit = None
    test: Limit = None
    test_users: int | None = None
    seed: int = 0


def asked_rows(
    data: PreparedData, split: SplitName, limit: Limit, seed: int, history_range: HistoryRange | None = None
) -> tuple[Rows, int | None]:
    """Return the rows that a task makes questions from, in their order, and the maximum number of questions."""
    if limit != "published":
        return within(data.rows(split), history_range), limit
    rows = data.sample(split, limit, seed)
    return within(rows.take(np.argsort(rows.row)), history_range), None


def within(rows: Rows, history_range: HistoryRange | None) -> Rows:
    """Return the rows whose number of earlier positives lies in a range, both ends included; all rows if it is None."""
    if history_range is None:
        return rows
    least, most = history_range
    kept = rows.take((rows.position >= least) & (rows.position <= most))
    log.info("%d of %d rows have %d to %d earlier positives and are asked", len(kept), len(rows), least, most)
    return kept


def generator(task: str, split: SplitName, seed: int) -> np.random.Generator:
    """Return the random generator of one task's split, so that no two of them share draws."""
    return np.random.default_rng([seed, zlib.crc32(f"{task}/{split}".encode())])


def sample(groups: int, limit: int | None, random: np.random.Generator) -> NDArray[np.int64]:
    """Return the indices, ascending, of a sample of `limit` of the groups; all if it is None or there are no more."""
    if limit is None or limit >= groups:
        return np.arange(groups)
    return np.sort(random.choice(groups, limit, replace=False))


def report_left_out(task: str, split: str, reason: str, count: int, of: int, logged: set[str]) -> None:
    """Log how many rows give no question, and why, unless it is in `logged`; nothing if there are none."""
    line = f"{task}, {split}: {count} of {of} rows left out: {reason}"
    if count and line not in logged:
        logged.add(line)
        log.info(line)
