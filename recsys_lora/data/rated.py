"""Histories of all that users have rated, liked or not, beside those of what they liked."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from recsys_lora.data.history import History, Ints, UserItems
from recsys_lora.data.prepared import PreparedData


class Asked(UserItems, Protocol):
    """Users and items at their rows: `Rows`, the questions of a task."""

    @property
    def row(self) -> Ints:
        """(n,) places among all rows; behind the last for what stands after all of them."""


@dataclass(frozen=True)
class RatedHistory:
    """The rows of a data set as histories; what was sampled beside positives is no row of a user.

    Attributes:
        data: the data set.
    """

    data: PreparedData

    @cached_property
    def items(self) -> History:
        """Every user's items, in order."""
        return History(self._offsets, self.data.every.item)

    @cached_property
    def ratings(self) -> History:
        """What they were rated, in the places of `items`."""
        return History(self._offsets, self.data.every.rating)

    def position(self, asked: Asked) -> Ints:
        """Return how many of the user's rows come before each question (n,).

        A question at the row r that knows p positives of its user comes before the (p + 1)th positive and before r.
        """
        next_positive = self._positives[self.data.history.offsets[asked.user] + asked.position]
        begin, end = self._offsets[asked.user], self._offsets[asked.user + 1]
        return np.asarray(np.minimum(np.minimum(asked.row, next_positive), end) - begin, dtype=np.int64)

    @cached_property
    def _offsets(self) -> Ints:
        begins = np.searchsorted(self.data.every.user, np.arange(self.data.num_users + 2))
        return np.asarray(begins, dtype=np.int64)

    @cached_property
    def _positives(self) -> Ints:
        """The positives' places among all rows, and the place behind all rows: (positives + 1,)."""
        places: Ints = np.append(np.flatnonzero(self.data.every.label > 0), len(self.data.every))
        return places
