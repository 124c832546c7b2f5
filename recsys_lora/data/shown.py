"""What a prompt's history is made of: the rows that a user liked, or all that the user has rated."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recsys_lora.data.history import History, Ints, UserItems
from recsys_lora.data.prepared import PreparedData
from recsys_lora.prompts.template import HistoryOf


class Asked(UserItems, Protocol):
    """Users and items at their rows: `Rows`, the questions of a task."""

    @property
    def row(self) -> Ints:
        """(n,) places among all rows; behind the last for what stands after all of them."""


@dataclass(frozen=True)
class ShownRows:
    """The rows that histories show, numbered from 1 in their order; 0 is padding.

    Attributes:
        history: every user's rows, by number.
        item: (shown + 1,) each one's item.
        rating: (shown + 1,) each one's rating.
        liked: every user's positives, which positions count.
        positives: (positives + 1,) their places among all rows, and the place behind all rows.
    """

    history: History
    item: Ints
    rating: NDArray[np.float32]
    liked: History
    positives: Ints

    @classmethod
    def of(cls, data: PreparedData, kind: HistoryOf) -> "ShownRows":
        """Return the positives (`liked`), or all rows of users (`rated`: not what was sampled beside positives)."""
        every, positives = data.every, np.flatnonzero(data.every.label > 0)
        liked_alone = kind == "liked" or data.manifest.get("negatives")
        places = positives if liked_alone else np.arange(len(every))
        rows = every.take(places)
        offsets = np.searchsorted(rows.user, np.arange(data.num_users + 2))
        history = History(offsets.astype(np.int64), np.arange(1, len(places) + 1))
        item, rating = np.r_[0, rows.item].astype(np.int64), np.r_[0, rows.rating].astype(np.float32)
        return cls(history, item, rating, data.history, np.r_[positives, len(every)].astype(np.int64))

    def last(self, asked: Asked, k: int) -> Ints:
        """Return the numbers of the last `k` rows before each question (n, k), oldest first, padded with 0 on the left.

        A question at the row r that knows p positives of its user comes before the (p + 1)th positive and before r.
        """
        if len(self.history.items) == len(self.liked.items):
            return self.history.last(asked.user, asked.position, k)
        next_positive = self.positives[self.liked.offsets[asked.user] + asked.position]
        begins = self.history.offsets[asked.user]
        ends = np.minimum(np.minimum(asked.row, next_positive), self.history.offsets[asked.user + 1])
        return self.history.last(asked.user, ends - begins, k)
