"""A prepared data set with users, items and events that were added later."""

import copy
from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_lora.data.history import ChangedHistory, History
from recsys_lora.data.known import NOBODY, Known, Part
from recsys_lora.data.prepared import PreparedData
from recsys_lora.data.rows import Rows
from recsys_lora.data.schema import SplitName


class LiveData(PreparedData):
    """The data of a trained run with later additions; a change returns a new object, and threads may keep the old one.

    Users and items keep their numbers. The number after the last user is `anonymous`, for requests without an id; users
    who were added later follow.

    Args:
        base: the data that the run was trained on.
        users: raw ids of the users who were added later.
        items: items that were added later, with columns item_id, title and any of the base's attributes.
        changed: by user number, all interactions of users who have more than in `base`.
    """

    def __init__(
        self,
        base: PreparedData,
        users: Sequence[str] = (),
        items: pl.DataFrame | None = None,
        changed: Mapping[int, Known] | None = None,
    ) -> None:
        self.base = base
        self.later_users = tuple(users)
        self.later_items = items
        self.anonymous = base.num_users + 1
        numbers = range(self.anonymous, self.anonymous + 1 + len(self.later_users))
        added = pl.DataFrame({"user_id": [None, *self.later_users], "user": list(numbers)})
        every = base.items
        if items is not None:
            numbered = pl.Series("item", range(base.num_items + 1, base.num_items + 1 + len(items)), dtype=pl.Int64)
            every = _below(base.items, items.with_columns(numbered))
        super().__init__(base.folder, base.manifest, base._interactions, every, _below(base.users, added), base._called)
        self.changed = changed or {}

    # Additions

    def with_users(self, ids: Iterable[str]) -> "LiveData":
        """Return the data with more users, who have no interactions yet."""
        return LiveData(self.base, (*self.later_users, *ids), self.later_items, self.changed)

    def with_items(self, items: pl.DataFrame) -> "LiveData":
        """Return the data with more items: columns item_id, title and any of the attributes."""
        every = items if self.later_items is None else pl.concat([self.later_items, items], how="diagonal_relaxed")
        return LiveData(self.base, self.later_users, every, self.changed)

    def with_known(self, known: Mapping[int, Known]) -> "LiveData":
        """Return the data with other interactions of a few users, by number, without copying."""
        other = copy.copy(self)
        other.changed = ChainMap(dict(known), self.changed)  # type: ignore[arg-type]  # it is only read
        return other

    def settled(self) -> "LiveData":
        """Return the data with all changes in one mapping, for long-lived data."""
        other = copy.copy(self)
        other.changed = dict(self.changed)
        return other

    # Interactions

    def known(self, user: int) -> Known:
        """Return the interactions of a user, by number."""
        if user in self.changed:
            return self.changed[user]
        if user > self.base.num_users:
            return NOBODY
        every = self.base.every
        rows = slice(*np.searchsorted(every.user, [user, user + 1]))
        item, rating, liked = every.item[rows], every.rating[rows], every.label[rows] > 0
        met = liked if self.manifest.get("negatives") else slice(None)  # the others are sampled negatives
        return Known(item[met], rating[met], liked[met])

    @property
    def history(self) -> History:
        """Users' positives."""
        return _changed(self.base.history, Part(self.changed, "positives"))

    @property
    def history_ratings(self) -> History:
        """The ratings of users' positives."""
        return _changed(self.base.history_ratings, Part(self.changed, "positive_ratings"))

    @property
    def every(self) -> Rows:
        """All rows that the run was trained, validated and tested on."""
        return self.base.every

    @property
    def shown_rows(self) -> NDArray[np.int64]:
        """How many rows of each user of the base may be shown in histories."""
        return self.base.shown_rows

    def rows(self, split: SplitName) -> Rows:
        """Return all rows of a split of the base."""
        return self.base.rows(split)

    @cached_property
    def popularity(self) -> NDArray[np.int64]:
        """How often each item occurs in train (N + 1,)."""
        return self.train_counts()[1]

    @cached_property
    def user_numbers(self) -> Mapping[str, int]:
        """Users' numbers by raw id."""
        return {raw: number for number, raw in enumerate(self.raw_user_ids) if number and raw is not None}

    @cached_property
    def item_numbers(self) -> Mapping[str, int]:
        """Items' numbers by raw id."""
        return {raw: number for number, raw in enumerate(self.raw_item_ids) if number}


def _changed(base: History, changed: Mapping[int, NDArray[Any]]) -> ChangedHistory:
    return ChangedHistory(base.offsets, base.items, changed)


def _below(table: pl.DataFrame, added: pl.DataFrame) -> pl.DataFrame:
    """Append rows to a table, in the table's columns and types; missing values are null."""
    columns = [
        (added[name] if name in added.columns else pl.Series([None] * len(added))).cast(dtype).alias(name)
        for name, dtype in table.schema.items()
    ]
    return pl.concat([table, pl.DataFrame(columns)])
