"""Scored rows, in memory and as a Parquet file that carries the raw ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_lora.data.prepared import PreparedData, Rows
from recsys_lora.errors import UserError
from recsys_lora.evaluation.warmth import DEFINITIONS, NEITHER, Definition, all_warmth
from recsys_lora.files import atomic_file

COLUMNS = ("row", "user", "item", "user_id", "item_id", "label", "score", "split")


@dataclass(frozen=True)
class Predictions:
    """What a model said about rows of one split; every array is (n,).

    Attributes:
        row: index in interactions.parquet.
        user: numbers from 1.
        item: numbers from 1.
        label: 0 or 1.
        score: float64; a logit, so that its sigmoid is the predicted chance of label 1.
        split: which split the rows are from.
        warm: for each definition 1 warm, 0 cold, -1 neither.
    """

    row: NDArray[np.int64]
    user: NDArray[np.int64]
    item: NDArray[np.int64]
    label: NDArray[np.int8]
    score: NDArray[np.float64]
    split: str
    warm: dict[Definition, NDArray[np.int8]]

    @classmethod
    def of(cls, rows: Rows, score: NDArray[Any], data: PreparedData, split: str) -> "Predictions":
        """Pair rows with their scores.

        Raises:
            ValueError: there is not one score a row.
            UserError: a score is not a number.
        """
        if score.shape != (len(rows),):
            raise ValueError(f"{len(rows)} rows, scores of shape {score.shape}")
        if (bad := np.flatnonzero(np.isnan(score))).size:
            raise UserError(
                f"{bad.size} of {len(rows)} {split} rows have a score that is not a number, the first is row"
                f" {rows.row[bad[0]]} of interactions.parquet: the model has diverged, lower its learning rate"
            )
        warm = all_warmth(rows.user, rows.item, *data.train_counts())
        label = rows.label.astype(np.int8)
        return cls(rows.row, rows.user, rows.item, label, score.astype(np.float64), split, warm)

    def __len__(self) -> int:
        return len(self.row)

    def take(self, index: NDArray[Any]) -> "Predictions":
        """Return the rows at `index` (positions or a mask), in that order."""
        return Predictions(
            self.row[index],
            self.user[index],
            self.item[index],
            self.label[index],
            self.score[index],
            self.split,
            {name: flags[index] for name, flags in self.warm.items()},
        )

    def only(self, rows: NDArray[np.int64]) -> "Predictions":
        """Return the rows whose `row` is among `rows`, in this object's order.

        Raises:
            ValueError: one of them is not here.
        """
        if not np.isin(rows, self.row).all():
            raise ValueError("these predictions do not hold all of the rows asked for")
        return self.take(np.isin(self.row, rows))


def write_predictions(
    path: Path, predictions: Predictions, raw_user_ids: Sequence[str], raw_item_ids: Sequence[str]
) -> None:
    """Write a Parquet file, atomically.

    Columns: row, user, item, user_id, item_id (raw strings), label, score, split, and a boolean warm_<definition>
    each, null where a row is neither warm nor cold.

    Args:
        path: the file.
        predictions: what to write.
        raw_user_ids: by user number, [0] unused.
        raw_item_ids: by item number, [0] unused.
    """
    raw_users, raw_items = np.asarray(raw_user_ids, dtype=object), np.asarray(raw_item_ids, dtype=object)
    table = {
        "row": predictions.row,
        "user": predictions.user,
        "item": predictions.item,
        "user_id": pl.Series(raw_users[predictions.user].tolist(), dtype=pl.String),
        "item_id": pl.Series(raw_items[predictions.item].tolist(), dtype=pl.String),
        "label": predictions.label,
        "score": predictions.score,
        "split": pl.Series([predictions.split] * len(predictions), dtype=pl.String),
    }
    for name, flags in predictions.warm.items():
        table[f"warm_{name}"] = pl.Series([None if f == NEITHER else bool(f) for f in flags], dtype=pl.Boolean)
    with atomic_file(path) as temporary:
        pl.DataFrame(table).write_parquet(temporary)


def read_predictions(path: Path) -> Predictions:
    """Read what `write_predictions` wrote.

    Raises:
        UserError: the file cannot be read or lacks a column.
    """
    try:
        table = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: cannot be read as Parquet ({reason}): give a run's predictions file") from error
    expected = (*COLUMNS, *(f"warm_{name}" for name in DEFINITIONS))
    if missing := [name for name in expected if name not in table.columns]:
        raise UserError(f"{path}: no column {', '.join(missing)}: give a predictions file that a run wrote")
    if len(splits := table["split"].unique().to_list()) > 1:
        raise UserError(f"{path}: holds rows of several splits ({', '.join(sorted(splits))}): give one split's file")
    flags = {name: table[f"warm_{name}"].cast(pl.Int8).fill_null(NEITHER).to_numpy() for name in DEFINITIONS}
    row, user, item = (table[name].to_numpy().astype(np.int64) for name in ("row", "user", "item"))
    label, score = table["label"].to_numpy().astype(np.int8), table["score"].to_numpy().astype(np.float64)
    return Predictions(row, user, item, label, score, splits[0] if splits else "", flags)
