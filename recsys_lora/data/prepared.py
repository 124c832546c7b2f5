"""A prepared data set: two Parquet tables and a manifest in a folder, numpy arrays once loaded."""

import copy
import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_lora.data.history import History, build_histories
from recsys_lora.data.known import Known
from recsys_lora.data.rows import Rows
from recsys_lora.data.schema import TEXT_COLUMNS, SplitName
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import read_json

__all__ = ["FORMAT_VERSION", "INTERACTIONS", "ITEMS", "MANIFEST", "USERS", "PreparedData", "Rows", "checksum"]

FORMAT_VERSION = 2
INTERACTIONS, ITEMS, USERS = "interactions.parquet", "items.parquet", "users.parquet"
MANIFEST = "manifest.json"
PUBLISHED_SEED = 2023
Titles = Literal["own", "index"]
"""What items are called: by their own titles, or by their numbers, which tell a language model nothing."""


class PreparedData:
    """What every later stage reads. Columns are read when they are first asked for.

    Args:
        folder: where it lies.
        manifest: how it was made.
        interactions: all kept rows, in the split's order.
        items: one row an item number, from 1.
        users: one row a user number, from 1; None makes it of the interactions.
        called: what items are called.

    Attributes:
        folder: where it lies.
        manifest: how it was made: sources, parameters, counts, dropped rows.
        key: names the content.
        num_users: the largest user number U.
        num_items: the largest item number N.
        changed: what is known of users of whom more is known than their rows say; none, while nobody uses it.
    """

    def __init__(
        self,
        folder: Path,
        manifest: dict[str, Any],
        interactions: pl.DataFrame | pl.LazyFrame,
        items: pl.DataFrame | pl.LazyFrame,
        users: pl.DataFrame | pl.LazyFrame | None = None,
        called: Titles = "own",
    ) -> None:
        self.folder = folder
        self._called = called
        self.manifest = manifest
        self.key: str = manifest["key"]
        self.changed: Mapping[int, Known] = {}
        self._interactions = interactions.lazy()
        self._items = items.lazy()
        pairs = self._interactions.select("user", "user_id").unique("user").sort("user")
        self._users = pairs if users is None else users.lazy()
        self.num_users = self._height(self._users)
        self.num_items = self._height(self._items)
        self._height(self._interactions)

    @classmethod
    def load(cls, folder: Path, called: Titles = "own") -> "PreparedData":
        """Read a folder that `prepare` wrote; `called` says what its items are called.

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
        interactions, items, users = (pl.scan_parquet(folder / name) for name in (INTERACTIONS, ITEMS, USERS))
        return cls(folder, manifest, interactions, items, users, called)

    def _collect(self, table: pl.LazyFrame) -> pl.DataFrame:
        """Read a table.

        Raises:
            UserError: the file is not there or damaged.
        """
        try:
            return table.collect()
        except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{self.folder}: a table cannot be read ({reason}): delete the folder and run again"
            ) from error

    def _height(self, table: pl.LazyFrame) -> int:
        return int(self._collect(table.select(pl.len())).item())

    @cached_property
    def interactions(self) -> pl.DataFrame:
        """All kept rows, in the split's order, texts included."""
        return self._collect(self._interactions)

    @cached_property
    def items(self) -> pl.DataFrame:
        """One row an item number, from 1."""
        return self._collect(self._items)

    @cached_property
    def users(self) -> pl.DataFrame:
        """One row a user number, from 1."""
        return self._collect(self._users)

    @cached_property
    def titles(self) -> list[str | None]:
        """Titles by item number, or what the items are called instead; [0], the padding, is ""."""
        own = self._called == "own"
        return ["", *(self.items["title"] if own else map(str, range(1, self.num_items + 1)))]

    @cached_property
    def raw_user_ids(self) -> list[str]:
        """Raw ids by user number; [0] is ""."""
        return ["", *self.users["user_id"]]

    @cached_property
    def raw_item_ids(self) -> list[str]:
        """Raw ids by item number; [0] is ""."""
        return ["", *self.items["item_id"]]

    @property
    def hides_held_out(self) -> bool:
        """Whether histories show train rows alone, which then stand before the other rows of their user."""
        return bool(self.manifest["split"].get("histories") == "train")

    @cached_property
    def shown_rows(self) -> NDArray[np.int64]:
        """How many of each user's rows, from the first, histories may show (U + 1,)."""
        table = self._interactions.filter(pl.col("split") == "train") if self.hides_held_out else self._interactions
        return np.bincount(self._collect(table.select("user"))["user"].to_numpy(), minlength=self.num_users + 1)

    @property
    def text_columns(self) -> list[str]:
        """The texts that rows have: `review`, `summary`, both or none."""
        return [column for column in self._interactions.collect_schema().names() if column in TEXT_COLUMNS]

    def texts(self, column: str) -> list[str | None]:
        """Return a text of all rows; only this column is read."""
        return self._collect(self._interactions.select(column))[column].to_list()

    @property
    def item_attributes(self) -> list[str]:
        """The names of what is known of items beside their title."""
        return [c for c in self._items.collect_schema().names() if c not in ("item_id", "item", "title")]

    @property
    def user_attributes(self) -> list[str]:
        """The names of what is known of users."""
        return [c for c in self._users.collect_schema().names() if c not in ("user_id", "user")]

    def attribute(self, side: Literal["item", "user"], column: str) -> list[str | None]:
        """Return an attribute as text, by item or user number; [0] is ""; whole numbers are written without a point."""
        values = (self.items if side == "item" else self.users)[column]
        return ["", *map(_written, values)]

    @cached_property
    def history(self) -> History:
        """Users' positives."""
        return self._walked[0]

    @cached_property
    def history_ratings(self) -> History:
        """What users' positives were rated, in the places of `history`."""
        return History(self.history.offsets, self.every.rating[self.every.label > 0])

    @property
    def every(self) -> Rows:
        """All rows of all splits, in their order; without texts, which are seldom needed and large."""
        return self._walked[1]

    @cached_property
    def _walked(self) -> tuple[History, Rows]:
        columns = ("user", "item", "label", "rating", "timestamp", "split")
        table = self._collect(self._interactions.select(columns))
        user = table["user"].to_numpy().astype(np.int64)
        item = table["item"].to_numpy().astype(np.int64)
        label = table["label"].to_numpy().astype(np.float32)
        history, position = build_histories(user, item, label > 0, self.num_users)
        train = (table["split"] == "train").to_numpy()
        if self.hides_held_out:
            position = np.minimum(position, np.bincount(user[train & (label > 0)], minlength=self.num_users + 1)[user])
        seen = _among(user, user[train], self.num_users) & _among(item, item[train], self.num_items)
        rating = table["rating"].to_numpy().astype(np.float32)
        timestamp = table["timestamp"].to_numpy().astype(np.int64)
        self._splits = table["split"]
        return history, Rows(np.arange(len(table)), user, item, label, rating, timestamp, position, seen)

    def rows(self, split: SplitName) -> Rows:
        """Return all rows of a split, in their order."""
        return self.every.take(np.flatnonzero((self._splits == split).fill_null(False).to_numpy()))

    def with_train_part(self, share: float, part: Literal["earliest", "rest"]) -> "PreparedData":
        """Return the data set with a part of its train rows alone; histories and everything else are the same.

        Args:
            share: of the train rows by time, rounded; of one second, those that come first in the split's order.
            part: that share of them, or the rows after it.
        """
        every = self.every
        train = np.flatnonzero((self._splits == "train").fill_null(False).to_numpy())
        by_time = train[np.argsort(every.timestamp[train], kind="stable")]
        size = round(share * len(by_time))
        return self._without(by_time[size:] if part == "earliest" else by_time[:size])

    def with_test_users(self, users: int, seed: int) -> "PreparedData":
        """Return the data set with the test rows of some users alone, all rows of each.

        Args:
            users: how many of those who have test rows; all where there are no more.
            seed: decides which.
        """
        test = self.rows("test")
        known = np.unique(test.user)
        if users >= len(known):
            return self
        kept = np.random.default_rng(seed).choice(known, users, replace=False)
        return self._without(test.row[~np.isin(test.user, kept)])

    def _without(self, rows: NDArray[np.int64]) -> "PreparedData":
        """Return the data set with these rows in no split; histories and everything else are the same."""
        view = copy.copy(self)
        view._splits = self._splits.clone().scatter(rows, None)
        return view

    def sampled_negatives(self, split: SplitName) -> int | None:
        """Return how many items were sampled beside each positive where rows have no rating, which metrics name."""
        drawn: dict[str, int] | None = self.manifest.get("negatives")
        return drawn["train" if split == "train" else "test"] if drawn else None

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


def _among(numbers: NDArray[np.int64], some: NDArray[np.int64], largest: int) -> NDArray[np.bool_]:
    """Tell which numbers, from 1 to `largest`, are among some."""
    occurs = np.zeros(largest + 1, dtype=np.bool_)
    occurs[some] = True
    return occurs[numbers]


def _written(value: Any) -> str | None:
    """Write an attribute for a prompt."""
    if value is None:
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
