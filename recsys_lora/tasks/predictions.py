"""Predictions as one Parquet file per task, with raw ids and everything that metrics need."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_lora.data.prepared import PreparedData
from recsys_lora.evaluation.warm_cold import DEFINITIONS, NEITHER, Definition, all_warm_cold
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.task import Output, RatingPredictions
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import atomic_file

_Kinds = Mapping[str, Any]
_COLUMNS: _Kinds = {
    "row": pl.Int64,
    "user_id": pl.String,
    "item_id": pl.String,
    "items": pl.List(pl.String),
    "target": pl.Int64,
    "label": pl.Float32,
    "sampling": pl.String,
    "split": pl.String,
}
_PREDICTED: _Kinds = {
    "score": pl.Float64,
    "scores": pl.List(pl.Float64),
    "expected": pl.Float64,
    "argmax": pl.Float64,
    "text": pl.String,
}
_ADVICE = "give a predictions file that a run wrote"
Flags = dict[Definition, NDArray[np.int8]]


def file_name(task: str) -> str:
    """Return the name of a task's file in a run's folder."""
    return f"predictions_{task}.parquet"


def warm_flags(data: PreparedData, questions: Questions) -> Flags:
    """Return for each question whether its user and item are warm, by every definition."""
    return all_warm_cold(questions.user, questions.item, *data.train_counts())


def write_predictions(path: Path, data: PreparedData, split: str, questions: Questions, output: Output) -> None:
    """Write a Parquet file, atomically.

    Columns: row, user, item, user_id, item_id (raw strings), items (list of raw ids, in the order shown), target,
    label, then the predictions (`score`; `scores`, a list; `expected` and `argmax`; or `text`), reference (the right
    text, for text answers), sampling (how candidates were drawn, as in the metrics' names), split, and a boolean
    warm_<definition> for each definition, null if a row is neither.

    Raises:
        UserError: a score is not a number.
    """
    users, items = np.asarray(data.raw_user_ids, dtype=object), np.asarray(data.raw_item_ids, dtype=object)
    count = len(questions)
    table: dict[str, Any] = {
        "row": questions.row,
        "user": questions.user,
        "item": questions.item,
        "user_id": pl.Series(users[questions.user].tolist(), dtype=pl.String),
        "item_id": pl.Series(items[questions.item].tolist(), dtype=pl.String),
        "items": pl.Series(
            [[str(items[item]) for item in shown if item] for shown in questions.items.tolist()],
            dtype=pl.List(pl.String),
        ),
        "target": questions.target,
        "label": questions.label,
        **_columns(output, questions, split),
        "sampling": pl.Series([questions.suffix] * count, dtype=pl.String),
        "split": pl.Series([split] * count, dtype=pl.String),
    }
    if questions.answers is not None:
        table["reference"] = pl.Series(list(questions.answers), dtype=pl.String)
    for name, flags in warm_flags(data, questions).items():
        table[f"warm_{name}"] = pl.Series([None if f == NEITHER else bool(f) for f in flags], dtype=pl.Boolean)
    with atomic_file(path) as temporary:
        pl.DataFrame(table).write_parquet(temporary)


def read_table(path: Path) -> pl.DataFrame:
    """Read a file written by `write_predictions`.

    Raises:
        UserError: it cannot be read, lacks a column, or has values that no run writes.
    """
    flags = [f"warm_{name}" for name in DEFINITIONS]
    table = read_columns(path, (*_COLUMNS, *flags), _ADVICE)
    predicted = {name: kind for name, kind in _PREDICTED.items() if name in table.columns}
    if not predicted or set(predicted) == {"argmax"}:
        raise UserError(f"{path}: no predictions are in it: {_ADVICE}")
    kinds = {**_COLUMNS, **predicted, **dict.fromkeys(flags, pl.Boolean)}
    return checked_columns(path, table, kinds, list(predicted), _ADVICE, may_lack=flags)


def checked_columns(
    path: Path,
    table: pl.DataFrame,
    kinds: _Kinds,
    predicted: Sequence[str],
    advice: str,
    may_lack: Sequence[str] = (),
) -> pl.DataFrame:
    """Return a table with its columns cast to the expected types.

    Args:
        path: its file, for messages.
        table: the table.
        kinds: the type of each column, by name.
        predicted: those columns that must not contain NaN, including in lists.
        advice: what to do about a file that no run wrote.
        may_lack: columns in which values can be missing.

    Raises:
        UserError: a value is of another type, missing, or NaN.
    """
    try:
        table = table.cast(dict[Any, Any](kinds))
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{path}: {str(error).splitlines()[0]}: {advice}") from error
    for name, kind in kinds.items():
        values = table[name].explode() if name in predicted and isinstance(kind, pl.List) else table[name]
        not_a_number = name in predicted and values.dtype == pl.Float64 and values.is_nan().any()
        if not_a_number or (values.null_count() and name not in may_lack):
            raise UserError(f"{path}: a value of {name} is missing or not a number: {advice}")
    return table


def read_columns(path: Path, expected: Iterable[str], advice: str) -> pl.DataFrame:
    """Read a Parquet file of a run's answers, which must have the expected columns.

    Raises:
        UserError: it cannot be read or lacks a column.
    """
    try:
        table = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: cannot be read as Parquet ({reason}): {advice}") from error
    if missing := [name for name in expected if name not in table.columns]:
        raise UserError(f"{path}: no column {', '.join(missing)}: {advice}")
    return table


def output_of(table: pl.DataFrame) -> Output:
    """Return the predictions of a table."""
    for name in ("score", "scores"):
        if name in table.columns:
            return scores_of(table[name])
    if "expected" in table.columns:
        return RatingPredictions(*(table[name].to_numpy().astype(np.float64) for name in ("expected", "argmax")))
    return [str(text) for text in table["text"].to_list()]


def questions_of(table: pl.DataFrame) -> Questions:
    """Return a table's questions as far as metrics need them; users and items are renumbered from 1."""
    user = np.unique(table["user_id"].to_numpy(), return_inverse=True)[1] + 1
    shown = table["items"].to_list()
    width = max(map(len, shown), default=1)
    numbers = {raw: number for number, raw in enumerate(sorted({raw for row in shown for raw in row}), start=1)}
    items = [[numbers[raw] for raw in row] + [0] * (width - len(row)) for row in shown]
    none, sampling = np.zeros(len(table), dtype=np.int64), table["sampling"].unique().to_list()
    return Questions(
        row=table["row"].to_numpy().astype(np.int64),
        user=user.astype(np.int64),
        item=np.array([numbers.get(raw, 0) for raw in table["item_id"].to_list()], dtype=np.int64),
        position=none,
        timestamp=none,
        items=np.array(items, dtype=np.int64).reshape(len(table), width),
        target=table["target"].to_numpy().astype(np.int64),
        label=table["label"].to_numpy().astype(np.float32),
        texts=({},) * len(table),
        answers=tuple(table["reference"].to_list()) if "reference" in table.columns else None,
        suffix=sampling[0] if sampling else "",
    )


def scores_of(column: pl.Series) -> NDArray[np.float64]:
    """Return the numbers (n,) of a column, or (n, C) of a column of lists, padded with -inf."""
    if column.dtype == pl.List:
        return _padded(column.to_list())
    return np.asarray(column.to_numpy(), dtype=np.float64)


def _padded(rows: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    width = max(map(len, rows), default=0)
    result: NDArray[np.float64] = np.full((len(rows), width), -np.inf)
    for place, row in enumerate(rows):
        result[place, : len(row)] = row
    return result


def _columns(output: Output, questions: Questions, split: str) -> dict[str, pl.Series]:
    if isinstance(output, RatingPredictions):
        return {name: _numbers(getattr(output, name), questions, split) for name in ("expected", "argmax")}
    if isinstance(output, np.ndarray):
        return {"score" if output.ndim == 1 else "scores": _numbers(output, questions, split)}
    return {"text": pl.Series(list(output), dtype=pl.String)}


def _numbers(values: NDArray[Any], questions: Questions, split: str) -> pl.Series:
    if len(values) != len(questions):
        raise ValueError(f"{len(questions)} questions, predictions of {len(values)}")
    if (bad := np.flatnonzero(np.isnan(values.reshape(len(values), -1)).any(axis=1))).size:
        raise UserError(
            f"{bad.size} of {len(values)} {split} questions have a score that is not a number, the first is of row"
            f" {questions.row[bad[0]]} of interactions.parquet: the model has diverged, lower its learning rate"
        )
    return numbers(values)


def numbers(values: NDArray[Any]) -> pl.Series:
    """Return a column of numbers (n,), or of lists of them (n, C)."""
    return pl.Series(values.tolist(), dtype=pl.Float64 if values.ndim == 1 else pl.List(pl.Float64))
