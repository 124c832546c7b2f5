"""Review texts of rows, prepared for questions and answers."""

import numpy as np

from recsys_lora.data.prepared import PreparedData, Rows
from recsys_lora.data.schema import SplitName
from recsys_lora.tasks.selection import Limit, asked_rows, generator, report_left_out, sample
from recsys_lora.tasks.task import Task
from recsys_lora.utils.errors import UserError

_PLURAL = {"review": "reviews", "summary": "summaries"}


def missing(data: PreparedData, column: str) -> str | None:
    """Return "no reviews" or "no summaries" if a data set lacks these texts or all of them are empty, else None."""
    if column in data.text_columns and any(text and text.strip() for text in data.texts(column)):
        return None
    return f"no {_PLURAL[column]}"


def asked_texts(
    task: Task, data: PreparedData, split: SplitName, limit: Limit, seed: int, column: str, words: int
) -> tuple[Rows, list[str]]:
    """Return the rows of a split whose `column` is not empty, or a sample of them, and the first words of these texts.

    Raises:
        UserError: the data set has no such texts.
    """
    if reason := missing(data, column):
        raise UserError(f"task {task.name}: the data set has {reason}: leave the task out")
    rows, most = asked_rows(data, split, limit, seed)
    values = data.texts(column)
    written = [" ".join((values[row] or "").split()[:words]) for row in rows.row.tolist()]
    places = np.flatnonzero(np.array(written, dtype=object))
    report_left_out(task.name, split, f"empty {column}", len(rows) - len(places), len(rows), task.logged)
    places = places[sample(len(places), most, generator(task.name, split, seed))]
    return rows.take(places), [written[place] for place in places]
