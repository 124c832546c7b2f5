"""A prepared data set: Parquet tables and a manifest in a folder, numpy arrays once loaded."""

import copy
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

__all__ = ["FORMAT_VERSION", "INTERACTIONS", "ITEMS", "MANIFEST", "USERS", "PreparedData", "Rows"]

FORMAT_VERSION = 2
INTERACTIONS, ITEMS, USERS, MANIFEST = "interactions.parquet", "items.parquet", "users.parquet", "manifest.json"
PUBLISHED_SEED = 2023
Titles = Literal["own", "index"]
"""How items are named: by their own titles, or by their numbers, which tell a language model nothing."""


class PreparedData:
    """A prepared data set, as every later stage reads it. Columns are loaded on first use.

    Args:
        folder: where it is stored.
        manifest: how it was made: sources, parameters, counts, dropped rows.
        interactions: all kept rows, in the split's order.
        items: one row per item number, from 1.
        users: one row per user number, from 1; None derives it from the interactions.
        called: how items are named.

    Attributes:
        key: identifies the content.
        num_users: the largest user number U.
        num_items: the largest item number N.
        changed: by user number, all interactions of users who have more than the prepared rows; only in `LiveData`.
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
        self._height(self._interactions)  # refuses a damaged file at once

    @classmethod
    def load(cls, folder: Path, called: Titles = "own") -> "PreparedData":
        """Read a folder that `prepare` wrote; `called` says how its items are named.

        Raises:
            UserError: the folder is not a prepared data set, or was made by another version.
        """
        if not (folder / MANIFEST).is_file():
            raise UserError(f"{folder}: no {MANIFEST} here: prepare the data first (python -m recsys_lora.prepare)")
        manifest = read_json(folder / MANIFEST)
        if (made := manifest.get("format")) != FORMAT_VERSION:
            raise UserError(f"{folder}: made by another version (format {made}): delete it, run again")
        interactions, items, users = (pl.scan_parquet(folder / name) for name in (INTERACTIONS, ITEMS, USERS))
        return cls(folder, manifest, interactions, items, users, called)

    def _collect(self, table: pl.LazyFrame) -> pl.DataFrame:
        """Read a table; raise a `UserError` if its file is missing or damaged."""
        try:
            return table.collect()
        except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            reason = f"a table cannot be read ({str(error).splitlines()[0]})"
            raise UserError(f"{self.folder}: {reason}: delete the folder and run again") from error

    def _height(self, table: pl.LazyFrame) -> int:
        return int(self._collect(table.select(pl.len())).item())

    @cached_property
    def interactions(self) -> pl.DataFrame:
        """All kept rows, in the split's order, texts included."""
        return self._collect(self._interactions)

    @cached_property
    def items(self) -> pl.DataFrame:
        """One row per item number, from 1."""
        return self._collect(self._items)

    @cached_property
    def users(self) -> pl.DataFrame:
        """One row per user number, from 1."""
        return self._collect(self._users)

    @cached_property
    def titles(self) -> list[str | None]:
        """Titles by item number, or the names used instead; [0], the padding, is ""."""
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
    def shown_rows(self) -> NDArray[np.int64]:
        """How many of each user's rows, counted from the first, may be shown in histories (U + 1,)."""
        return self._walked[2]

    @property
    def text_columns(self) -> list[str]:
        """The rows' text columns: `review`, `summary`, both or none."""
        return [name for name in self._interactions.collect_schema().names() if name in TEXT_COLUMNS]

    def texts(self, column: str) -> list[str | None]:
        """Return one text column of all rows; no other column is read."""
        return self._collect(self._interactions.select(column))[column].to_list()

    @property
    def item_attributes(self) -> list[str]:
        """Names of the items' further columns."""
        return [c for c in self._items.collect_schema().names() if c not in ("item_id", "item", "title")]

    @property
    def user_attributes(self) -> list[str]:
        """Names of the users' further columns."""
        return [c for c in self._users.collect_schema().names() if c not in ("user_id", "user")]

    @cached_property
    def history(self) -> History:
        """Users' positives."""
        return self._walked[0]

    @cached_property
    def history_ratings(self) -> History:
        """The ratings of users' positives, aligned with `history`."""
        return History(self.history.offsets, self.every.rating[self.every.label > 0])

    @property
    def every(self) -> Rows:
        """All rows of all splits, in their order; without texts, which are seldom needed and large."""
        return self._walked[1]

    @cached_property
    def _walked(self) -> tuple[History, Rows, NDArray[np.int64]]:
        table = self._collect(self._interactions.select("user", "item", "label", "rating", "timestamp", "split"))
        self._splits = table["split"]
        user, item, timestamp = (table[name].to_numpy().astype(np.int64) for name in ("user", "item", "timestamp"))
        label, rating = (table[name].to_numpy().astype(np.float32) for name in ("label", "rating"))
        history, position = build_histories(user, item, label > 0, self.num_users)
        train = self._places("train")
        shown = train if self.manifest["split"].get("histories") == "train" else np.arange(len(table))
        counted = (shown, shown[label[shown] > 0])
        shown_rows, shown_positives = (np.bincount(user[rows], minlength=self.num_users + 1) for rows in counted)
        position = np.minimum(position, shown_positives[user])
        seen = np.isin(user, user[train]) & np.isin(item, item[train])
        rows = Rows(np.arange(len(table)), user, item, label, rating, timestamp, position, seen)
        return history, rows, shown_rows

    def _places(self, split: SplitName) -> NDArray[np.int64]:
        return np.flatnonzero((self._splits == split).fill_null(False).to_numpy())

    def rows(self, split: SplitName) -> Rows:
        """Return all rows of a split, in their order."""
        return self.every.take(self._places(split))

    def with_train_part(self, share: float, part: Literal["earliest", "rest"]) -> "PreparedData":
        """Return the data set with only a part of its train rows; histories and everything else stay the same.

        Args:
            share: the earliest share of the train rows, rounded; rows of the same second are in the split's order.
            part: that share, or the rows after it.
        """
        timestamp, train = self.every.timestamp, self._places("train")
        by_time = train[np.argsort(timestamp[train], kind="stable")]
        size = round(share * len(by_time))
        return self._without(by_time[size:] if part == "earliest" else by_time[:size])

    def with_test_users(self, users: int, seed: int) -> "PreparedData":
        """Return the data set with the test rows of only some users, all rows of each.

        Args:
            users: how many of the users with test rows; all if there are no more.
            seed: decides which.
        """
        test = self.rows("test")
        known = np.unique(test.user)
        if users >= len(known):
            return self
        kept = np.random.default_rng(seed).choice(known, users, replace=False)
        return self._without(test.row[~np.isin(test.user, kept)])

    def _without(self, rows: NDArray[np.int64]) -> "PreparedData":
        view = copy.copy(self)
        view._splits = self._splits.clone().scatter(rows, None)
        return view

    def sampled_negatives(self, split: SplitName) -> int | None:
        """Return the number of sampled negatives per positive, which metrics state; None if rows have ratings."""
        drawn: dict[str, int] | None = self.manifest.get("negatives")
        return drawn["train" if split == "train" else "test"] if drawn else None

    def sample(self, split: SplitName, rows: int | Literal["published"] | None, seed: int) -> Rows:
        """Return a fixed sample of a split.

        Args:
            split: the split.
            rows: how many, in their order; None for all; "published" for those on which published work validates, in
                its own order.
            seed: decides the sample; the published one has its own.

        Raises:
            UserError: the split has no published sample.
        """
        every = self.rows(split)
        if rows != "published":
            return every if rows is None else every.sample(rows, seed)
        rule, share = self.manifest["split"]["split"], self.manifest["split"].get("published_valid")
        if split != "valid" or share is None:
            raise UserError(f"data.{split}_rows=published: {rule} has no published {split} sample: give a number")
        random = np.random.RandomState(PUBLISHED_SEED)
        return every.take(random.choice(len(every), round(share * len(every)), replace=False))

    def train_counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return how often each user (U + 1,) and each item (N + 1,) occurs in train."""
        train, size = self.rows("train"), (self.num_users + 1, self.num_items + 1)
        return np.bincount(train.user, minlength=size[0]), np.bincount(train.item, minlength=size[1])
