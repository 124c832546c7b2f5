"""The predicted test questions of runs, in the same order; runs tested on different questions cannot be compared."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from recsys_lora.report.runs import Run
from recsys_lora.tasks.predictions import read_table
from recsys_lora.utils.errors import UserError

_SHOWN = "shown"
KEY = ["user_id", "item_id", _SHOWN, "target", "label"]
"""Identifies a test question, whoever prepared the data: raw ids, the candidates shown, and the answer."""


def read_sorted(path: Path) -> pl.DataFrame:
    """Return a run's predictions sorted by question, with an additional column `shown` (the candidates as one text).

    Equal questions are in the order of `row`, which is the same for all runs on one prepared data set.

    Raises:
        UserError: the file cannot be read or lacks a column.
    """
    table = read_table(path)
    return table.with_columns(pl.col("items").list.join("\n").alias(_SHOWN)).sort([*KEY, "row"])


def refuse_other_rows(task: str, runs: Sequence[Run], tables: Sequence[pl.DataFrame]) -> None:
    """Check that all runs were tested on the same questions, in any order, counting repeated ones.

    Raises:
        UserError: two were not; the message names them and says how many questions differ.
    """
    first = tables[0].select(KEY)
    for run, other in zip(runs[1:], tables[1:], strict=True):
        if first.equals(other.select(KEY)):
            continue
        more, less = surplus(first, other)
        raise UserError(
            f"{runs[0].folder} and {run.folder}: not tested on the same rows of {task}: {more + less} rows differ"
            f" ({more} only in the first, {less} only in the second): give both the same data, data.test_rows,"
            f" data.sample_seed and task.{task}"
        )


def surplus(first: pl.DataFrame, second: pl.DataFrame) -> tuple[int, int]:
    """Return how many questions of the first the second lacks, and the reverse, counting repeated ones."""
    counts = [frame.group_by(KEY).len() for frame in (first, second)]
    both = counts[0].join(counts[1], on=KEY, how="full", coalesce=True, suffix="_second").fill_null(0)
    difference = both["len"].cast(pl.Int64) - both["len_second"].cast(pl.Int64)
    return int(difference.clip(0).sum()), int(-difference.clip(None, 0).sum())
