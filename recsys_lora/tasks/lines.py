"""The scores of all lines on a task's questions, with the questions' context: for plots and comparisons."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recsys_lora.data.prepared import PreparedData
from recsys_lora.tasks.predictions import checked_columns, numbers, read_columns
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.record import Answered
from recsys_lora.utils.files import atomic_file

SCORE = "score of "
"""Prefix of the name of a line's column."""
SHOWN = 5
"""Number of titles kept of a history, the latest."""
_COLUMNS: Mapping[str, Any] = {
    "row": pl.Int64,
    "user_id": pl.String,
    "item_id": pl.String,
    "title": pl.String,
    "label": pl.Float32,
    "history": pl.List(pl.String),
    "history_length": pl.Int64,
    "item_rows": pl.Int64,
    "user_rows": pl.Int64,
}
_ADVICE = "test the run again"


def file_name(task: str) -> str:
    """Return the name of a task's file in a run's folder."""
    return f"lines_{task}.parquet"


def write_lines(path: Path, data: PreparedData, questions: Questions, answered: Sequence[Answered]) -> None:
    """Write a Parquet file, atomically.

    Columns: row, user_id, item_id (raw strings), title (the raw id in quotes if the item has none), label, history
    (titles of the latest positives before the question, oldest first), history_length (how many there are),
    item_rows and user_rows (how often item and user occur in train), then `score of LINE` for every line on all
    questions: a number, or a list with one for each candidate in the order shown.

    Args:
        path: the file.
        data: the data set.
        questions: n questions.
        answered: the lines, with scores (n,) or (n, C); those on a sample are left out.
    """
    titles = np.array(
        [title or f"'{raw}'" for title, raw in zip(data.titles, data.raw_item_ids, strict=True)], dtype=object
    )
    history = data.history.last(questions.user, questions.position, SHOWN)
    users, items = data.train_counts()
    table = pl.DataFrame(
        {
            "row": questions.row,
            "user_id": pl.Series([data.raw_user_ids[user] for user in questions.user.tolist()], dtype=pl.String),
            "item_id": pl.Series([data.raw_item_ids[item] for item in questions.item.tolist()], dtype=pl.String),
            "title": pl.Series(titles[questions.item].tolist(), dtype=pl.String),
            "label": questions.label,
            "history": pl.Series(
                [[titles[item] for item in own if item] for own in history.tolist()], dtype=pl.List(pl.String)
            ),
            "history_length": questions.position,
            "item_rows": items[questions.item],
            "user_rows": users[questions.user],
            **{SCORE + line.name: numbers(np.asarray(line.output)) for line in answered if line.sample is None},
        }
    )
    with atomic_file(path) as temporary:
        table.write_parquet(temporary)


def read_lines(path: Path) -> pl.DataFrame:
    """Read a file written by `write_lines`.

    Raises:
        UserError: it cannot be read, lacks a column, or has values that no run writes.
    """
    table = read_columns(path, _COLUMNS, _ADVICE)
    scores = [name for name in table.columns if name.startswith(SCORE)]
    kinds = {name: pl.List(pl.Float64) if table.schema[name].is_nested() else pl.Float64 for name in scores}
    return checked_columns(path, table, {**_COLUMNS, **kinds}, scores, _ADVICE)
