"""Rows of a prepared data set as arrays."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
