"""The scored test rows of runs, in one order; runs that were tested on other rows cannot be compared."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from recsys_lora.errors import UserError
from recsys_lora.evaluation.bootstrap import Floats
from recsys_lora.report.runs import Run

KEY = ["user_id", "item_id", "label"]
"""What a test row is, whoever prepared the data: raw ids and the answer."""


def read_scores(path: Path) -> pl.DataFrame:
    """Return a run's scored rows, (user_id, item_id, label, row, score), sorted by these.

    Rows that are alike in user, item and label stand in the order of `row`, so that runs on one prepared data set have
    them in the same order.

    Raises:
        UserError: the file cannot be read or lacks a column.
    """
    try:
        return pl.read_parquet(path, columns=[*KEY, "row", "score"]).sort([*KEY, "row"])
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: cannot be read as a run's predictions ({reason}): run it again") from error


def refuse_other_rows(runs: Sequence[Run], scores: Sequence[pl.DataFrame]) -> None:
    """Check that all runs were tested on the same rows, in whatever order, repeated ones counted.

    Raises:
        UserError: two were not; the line names them and says how many rows differ.
    """
    first = scores[0].select(KEY)
    for run, other in zip(runs[1:], scores[1:], strict=True):
        if first.equals(other.select(KEY)):
            continue
        more, less = surplus(first, other)
        raise UserError(
            f"{runs[0].folder} and {run.folder}: not tested on the same rows: {more + less} rows differ ({more} only in"
            f" the first, {less} only in the second): give both the same data, data.test_rows and data.sample_seed"
        )


def surplus(first: pl.DataFrame, second: pl.DataFrame) -> tuple[int, int]:
    """Return how many rows the first has that the second lacks, and the reverse, repeated rows counted."""
    counts = [frame.group_by(KEY).len() for frame in (first, second)]
    both = counts[0].join(counts[1], on=KEY, how="full", coalesce=True, suffix="_second").fill_null(0)
    difference = both["len"].cast(pl.Int64) - both["len_second"].cast(pl.Int64)
    return int(difference.clip(0).sum()), int(-difference.clip(None, 0).sum())


def averaged(scores: Sequence[pl.DataFrame]) -> Floats:
    """Return one score a row for several seeds: the mean of sigmoid(score), the predicted chance of label 1.

    One seed's scores are left as they are: the sigmoid would keep their order, but make far ones equal.
    """
    if len(scores) == 1:
        return scores[0]["score"].to_numpy().astype(np.float64)
    chances = [(1.0 + np.tanh(frame["score"].to_numpy().astype(np.float64) / 2.0)) / 2.0 for frame in scores]
    mean: Floats = np.mean(chances, axis=0)
    return mean
