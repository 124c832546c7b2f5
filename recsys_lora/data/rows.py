"""Rows of a prepared data set as arrays."""

import hashlib
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys_lora.data.history import History


@dataclass(frozen=True)
class Rows:
    """Rows of one split, with one entry per row in every array.

    Attributes:
        row: (n,) index in interactions.parquet.
        user: (n,) numbers from 1.
        item: (n,) numbers from 1.
        label: (n,) 1 for a positive, else 0.
        rating: (n,) as the data set gives it.
        timestamp: (n,) seconds UTC.
        position: (n,) number of the user's earlier positives over all splits.
        seen: (n,) whether user and item both occur in train.
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

    def sample(self, count: int, seed: int) -> "Rows":
        """Return a random sample in the rows' order, the same for the same seed; all rows if there are no more."""
        if count >= len(self):
            return self
        return self.take(np.sort(np.random.default_rng(seed).choice(len(self), count, replace=False)))


def checksum(rows: Rows, history: History) -> str:
    """Return the SHA-256 over rows in order, to compare two builds of a split.

    Each row is `user TAB item TAB label TAB timestamp TAB last ten items, joined by commas NEWLINE`, numbers from 1.
    """
    digest = hashlib.sha256()
    columns = (rows.user.tolist(), rows.item.tolist(), rows.label.astype(np.int64).tolist(), rows.timestamp.tolist())
    last = history.last(rows.user, rows.position, 10).tolist()
    for *values, items in zip(*columns, last, strict=True):
        joined = ",".join(str(item) for item in items if item)
        digest.update("\t".join([*map(str, values), joined]).encode() + b"\n")
    return digest.hexdigest()
