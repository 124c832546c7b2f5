"""Users' positives as a CSR pair of arrays, and every row's position in them; no Python list per row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class UserItems(Protocol):
    """Pairs of user and item, each at a position in the user's history: `Rows`, a task's questions, `Pairs`."""

    @property
    def user(self) -> Ints:
        """(n,) numbers from 1."""

    @property
    def item(self) -> Ints:
        """(n,) numbers from 1."""

    @property
    def position(self) -> Ints:
        """(n,) number of the user's earlier positives."""


@dataclass(frozen=True)
class Pairs:
    """A minimal `UserItems`, with the same attributes."""

    user: Ints
    item: Ints
    position: Ints

    @classmethod
    def concatenated(cls, parts: Sequence[UserItems]) -> "Pairs":
        """Return the pairs of all parts, concatenated."""
        names = ("user", "item", "position")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True)
class History:
    """All users' positives, oldest first.

    A row's history is the first `position` of its user's items: the user's positives before that row.

    Attributes:
        offsets: (U + 2,) int64; user u's items are `items[offsets[u]:offsets[u + 1]]`; user 0 is padding and has none.
        items: (positives,) int64; or another value for each of them, such as its rating.
    """

    offsets: NDArray[np.int64]
    items: NDArray[Any]

    def of(self, user: int) -> NDArray[Any]:
        """Return all of one user's positives, oldest first."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def last(self, user: NDArray[np.int64], position: NDArray[np.int64], k: int) -> NDArray[Any]:
        """Return the last `k` items before each row, oldest first, padded with 0 on the left.

        Args:
            user: (n,) numbers from 1.
            position: (n,) how many of the user's positives come before the row.
            k: how many items at most.

        Returns:
            (n, k) item numbers.
        """
        start = self.offsets[user][:, None]  # (n, 1)
        index = start + position[:, None] + np.arange(-k, 0)  # (n, k)
        inside = index >= start
        if not len(self.items):
            return np.zeros(index.shape, dtype=self.items.dtype)
        return np.where(inside, self.items[np.where(inside, index, 0)], self.items.dtype.type(0))


@dataclass(frozen=True)
class ChangedHistory(History):
    """Users' positives, with those of a few users replaced or of further users added.

    Attributes:
        changed: user -> all of the user's positives, oldest first.
    """

    changed: Mapping[int, NDArray[Any]]

    def of(self, user: int) -> NDArray[Any]:
        """Return all of one user's positives, oldest first."""
        if user in self.changed:
            return self.changed[user]
        return super().of(user) if user < len(self.offsets) - 1 else self.items[:0]

    def last(self, user: NDArray[np.int64], position: NDArray[np.int64], k: int) -> NDArray[Any]:
        """Return the last `k` items before each row, as `History.last` does."""
        moved = [number for number in np.unique(user).tolist() if number in self.changed]
        stored = (user < len(self.offsets) - 1) & ~np.isin(user, moved)
        found = super().last(np.where(stored, user, 0), np.where(stored, position, 0), k)
        for number in moved:
            rows, own = np.flatnonzero(user == number), self.changed[number]
            offsets = np.array([0, len(own)], dtype=np.int64)
            found[rows] = History(offsets, own).last(np.zeros_like(rows), position[rows], k)
        return found


def build_histories(
    user: NDArray[np.int64], item: NDArray[np.int64], positive: NDArray[np.bool_], num_users: int
) -> tuple[History, NDArray[np.int64]]:
    """Walk every user's rows in their order and collect positives.

    Args:
        user: (n,) numbers from 1, non-decreasing; each user's rows oldest first.
        item: (n,) numbers from 1.
        positive: (n,) whether the row counts as history.
        num_users: the largest user number.

    Returns:
        The histories, and each row's position (n,): the number of the user's positives before it.

    Raises:
        ValueError: users are not in order.
    """
    if (np.diff(user) < 0).any():
        raise ValueError("rows are not in the order of their users: histories cannot be walked")
    counts = np.bincount(user[positive], minlength=num_users + 1)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    before = np.cumsum(positive, dtype=np.int64) - positive  # positives of all users before the row
    return History(offsets, item[positive].astype(np.int64)), before - offsets[user]
