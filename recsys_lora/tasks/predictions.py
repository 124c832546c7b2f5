"""What a model answered, as a Parquet file a task that carries the raw ids."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_lora.data.prepared import PreparedData
from recsys_lora.errors import UserError
from recsys_lora.evaluation.warmth import NEITHER, Definition, all_warmth
from recsys_lora.files import atomic_file
from recsys_lora.tasks.question import Questions

Raw = NDArray[np.float64] | Sequence[str]
"""What a model gives: logits (n, K), candidates' scores (n, C), or n texts."""
ANSWER = "answer"


def warmth_of(data: PreparedData, questions: Questions) -> dict[Definition, NDArray[np.int8]]:
    """Say of each question whether its user and item are warm, by every definition."""
    return all_warmth(questions.user, questions.item, *data.train_counts())


def write_answers(path: Path, data: PreparedData, split: str, questions: Questions, raw: Raw) -> None:
    """Write a Parquet file, atomically.

    Columns: row, user, item, user_id, item_id (raw strings), items (list of raw ids, in the order shown), target,
    label, answer (a list of K or C scores, or a text), reference (the right text, where the answer is one), split, and
    a boolean warm_<definition> each, null where a row is neither.

    Raises:
        UserError: a score is not a number.
    """
    users, items = np.asarray(data.raw_user_ids, dtype=object), np.asarray(data.raw_item_ids, dtype=object)
    table: dict[str, Any] = {
        "row": questions.row,
        "user": questions.user,
        "item": questions.item,
        "user_id": pl.Series(users[questions.user].tolist(), dtype=pl.String),
        "item_id": pl.Series(items[questions.item].tolist(), dtype=pl.String),
        "items": [[str(items[item]) for item in shown if item] for shown in questions.items.tolist()],
        "target": questions.target,
        "label": questions.label,
        ANSWER: _column(raw, split),
        "split": pl.Series([split] * len(questions), dtype=pl.String),
    }
    if questions.answers is not None:
        table["reference"] = pl.Series(list(questions.answers), dtype=pl.String)
    for name, flags in warmth_of(data, questions).items():
        table[f"warm_{name}"] = pl.Series([None if f == NEITHER else bool(f) for f in flags], dtype=pl.Boolean)
    with atomic_file(path) as temporary:
        pl.DataFrame(table).write_parquet(temporary)


def read_answers(path: Path, questions: Questions) -> Raw:
    """Read the answers that `write_answers` wrote.

    Raises:
        UserError: the file cannot be read, or is about other questions.
    """
    try:
        table: Mapping[str, pl.Series] = pl.read_parquet(path, columns=["row", ANSWER]).to_dict()
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: cannot be read as Parquet ({reason}): give a run's predictions file") from error
    if not np.array_equal(table["row"].to_numpy(), questions.row):
        raise UserError(f"{path}: holds the answers to other questions: run again with stage.force=[test]")
    answers = table[ANSWER]
    if answers.dtype == pl.String:
        return answers.to_list()
    return np.array(answers.to_list(), dtype=np.float64)


def _column(raw: Raw, split: str) -> pl.Series:
    if not isinstance(raw, np.ndarray):
        return pl.Series(list(raw), dtype=pl.String)
    if (bad := np.flatnonzero(np.isnan(raw).any(axis=1))).size:
        raise UserError(
            f"{bad.size} of {len(raw)} {split} questions have a score that is not a number: the model has diverged, "
            "lower its learning rate"
        )
    return pl.Series(raw.tolist(), dtype=pl.List(pl.Float64))
