"""A prepared data set: two Parquet tables and a manifest in a folder, numpy arrays once loaded."""

import hashlib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_lora.data.history import History, walk
from recsys_lora.data.schema import SPLITS, SplitName
from recsys_lora.errors import UserError
from recsys_lora.files import read_json

FORMAT_VERSION = 1
INTERACTIONS, ITEMS, MANIFEST = "interactions.parquet", "items.parquet", "manifest.json"
PUBLISHED_SEED = 2023


@dataclass(frozen=True)
class Rows:
    """Rows of one split, one entry a row in every array.

    Attributes:
        row: (n,) index in interactions.parquet.
        user: (n,) numbers from 1.
        item: (n,) numbers from 1.
        label: (n,) 1 for a positive, else 0.
        rating: (n,) as the data set gives it.
        timestamp: (n,) seconds UTC.
        position: (n,) count of the user's earlier positives over all splits.
        seen: (n,) user and item both occur in train.
    """

    row: NDArray[np.int64]
    user: NDArray[np.int64]
    item: NDArray[np.int64]
    label: NDArray[np.float32]
    rating: NDArray[np.float32]
    timestamp: NDArray[np.int64]
    position: NDArray[np.int64]
    seen: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.row)

    def take(self, index: NDArray[np.integer[Any]] | NDArray[np.bool_]) -> "Rows":
        """Return the rows at `index`, in that order; a mask works, too."""
        return replace(self, **{field.name: getattr(self, field.name)[index] for field in fields(self)})


class PreparedData:
    """What every later stage reads.

    Attributes:
        folder: where it lies.
        manifest: how it was made: sources, parameters, counts, dropped rows, checksums.
        key: names the content this was made from.
        interactions: all kept rows, in the split's order.
        items: one row an item number, from 1.
        num_users: the largest user number U.
        num_items: the largest item number N.
        history: users' positives.
        titles: by item number; [0], the padding, is "".
        raw_user_ids: by user number; [0] is "".
        raw_item_ids: by item number; [0] is "".
    """

    def __init__(self, folder: Path, manifest: dict[str, Any], interactions: pl.DataFrame, items: pl.DataFrame) -> None:
        self.folder = folder
        self.manifest = manifest
        self.key: str = manifest["key"]
        self.interactions = interactions
        self.items = items
        self.num_items = len(items)
        self.titles: list[str | None] = ["", *items["title"]]
        self.raw_item_ids: list[str] = ["", *items["item_id"]]
        by_number = interactions.select("user", "user_id").unique("user").sort("user")
        self.num_users = len(by_number)
        self.raw_user_ids: list[str] = ["", *by_number["user_id"]]
        self.history, self._all = self._walk()

    @classmethod
    def load(cls, folder: Path) -> "PreparedData":
        """Read a folder that `prepare` wrote.

        Raises:
            UserError: the folder is not a prepared data set, or one of another version.
        """
        if not (folder / MANIFEST).is_file():
            raise UserError(f"{folder}: no {MANIFEST} here: prepare the data first (python -m recsys_lora.prepare)")
        manifest = read_json(folder / MANIFEST)
        if manifest.get("format") != FORMAT_VERSION:
            raise UserError(
                f"{folder}: made by another version (format {manifest.get('format')}): delete it, run again"
            )
        try:
            tables = pl.read_parquet(folder / INTERACTIONS), pl.read_parquet(folder / ITEMS)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise UserError(f"{folder}: a table cannot be read ({error}): delete the folder and run again") from error
        return cls(folder, manifest, *tables)

    def _walk(self) -> tuple[History, Rows]:
        table = self.interactions
        user = table["user"].to_numpy().astype(np.int64)
        item = table["item"].to_numpy().astype(np.int64)
        label = table["label"].to_numpy().astype(np.float32)
        history, position = walk(user, item, label > 0, self.num_users)
        train = (table["split"] == "train").to_numpy()
        seen = np.isin(user, user[train]) & np.isin(item, item[train])
        rating = table["rating"].to_numpy().astype(np.float32)
        timestamp = table["timestamp"].to_numpy().astype(np.int64)
        return history, Rows(np.arange(len(table)), user, item, label, rating, timestamp, position, seen)

    def rows(self, split: SplitName) -> Rows:
        """Return all rows of a split, in their order."""
        return self._all.take(np.flatnonzero((self.interactions["split"] == split).to_numpy()))

    def sample(self, split: SplitName, rows: int | Literal["published"] | None, seed: int) -> Rows:
        """Return a fixed sample of a split.

        Args:
            split: of which split.
            rows: how many, in their original order; all where None or where there are no more;
                "published" for the sample on which published work validates, in its own order.
            seed: decides the sample; the published one has its own.

        Raises:
            UserError: the split has no published sample.
        """
        every = self.rows(split)
        if rows is None:
            return every
        if rows == "published":
            share = self.manifest["split"].get("published_valid")
            if split != "valid" or share is None:
                rule = self.manifest["split"]["split"]
                raise UserError(f"data.{split}_rows=published: {rule} has no published {split} sample: give a number")
            size = round(share * len(every))
            return every.take(np.random.RandomState(PUBLISHED_SEED).choice(len(every), size, replace=False))
        if rows >= len(every):
            return every
        return every.take(np.sort(np.random.default_rng(seed).choice(len(every), rows, replace=False)))

    def train_counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return how often each user (U + 1,) and each item (N + 1,) occurs in train."""
        train = self.rows("train")
        return (
            np.bincount(train.user, minlength=self.num_users + 1),
            np.bincount(train.item, minlength=self.num_items + 1),
        )


def checksum(data: PreparedData, rows: Rows, history: int = 10) -> str:
    """Return the SHA-256 over rows in order, to compare two builds of a split.

    Each row is `user TAB item TAB label TAB timestamp TAB last items, joined by commas NEWLINE`, numbers from 1.
    """
    digest = hashlib.sha256()
    last = data.history.last(rows.user, rows.position, history)
    columns = (rows.user.tolist(), rows.item.tolist(), rows.label.astype(np.int64).tolist(), rows.timestamp.tolist())
    for *values, items in zip(*columns, last.tolist(), strict=True):
        joined = ",".join(str(item) for item in items if item)
        digest.update("\t".join([*map(str, values), joined]).encode() + b"\n")
    return digest.hexdigest()


def describe(data: PreparedData, split: SplitName) -> dict[str, Any]:
    """Return the record of one split for the table of what was made."""
    rows = data.rows(split)
    positives = np.bincount(rows.user, weights=rows.label, minlength=data.num_users + 1)
    counts = np.bincount(rows.user, minlength=data.num_users + 1)
    return {
        "split": split,
        "rows": len(rows),
        "users": len(np.unique(rows.user)),
        "items": len(np.unique(rows.item)),
        "positives": round(float(rows.label.mean()), 4) if len(rows) else 0.0,
        "seen": int(rows.seen.sum()),
        "users_with_both_classes": int(((positives > 0) & (positives < counts)).sum()),
        "no_history": int((rows.position == 0).sum()),
        "sha256": checksum(data, rows),
    }


def summary(data: PreparedData) -> list[dict[str, Any]]:
    """Return one record a split, for printing."""
    return [describe(data, split) for split in SPLITS]
