"""Histories of all items that users have rated, liked or not, besides those of liked items."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from recsys_lora.data.history import ChangedHistory, History, Ints, UserItems
from recsys_lora.data.known import NOBODY, Part
from recsys_lora.data.prepared import PreparedData


class Asked(UserItems, Protocol):
    """Pairs of user and item at their rows: `Rows`, a task's questions."""

    @property
    def row(self) -> Ints:
        """(n,) indices among all rows; beyond the last for what comes after all of them."""


@dataclass(frozen=True)
class RatedHistory:
    """The rows of a data set as histories; sampled negatives are not rows of a user.

    Attributes:
        data: the data set.
    """

    data: PreparedData

    @cached_property
    def items(self) -> History:
        """Every user's items, in order."""
        return ChangedHistory(self._offsets, self.data.every.item, Part(self.data.changed, "items"))

    @cached_property
    def ratings(self) -> History:
        """Their ratings, aligned with `items`."""
        return ChangedHistory(self._offsets, self.data.every.rating, Part(self.data.changed, "ratings"))

    def position(self, asked: Asked) -> Ints:
        """Return how many of the user's rows come before each question (n,).

        A question at the row r that knows p positives of its user comes before the (p + 1)th positive and before r.
        """
        offsets, changed = self.data.history.offsets, self.data.changed
        moved = [user for user in np.unique(asked.user).tolist() if user in changed or user > len(offsets) - 2]
        known_anew = np.isin(asked.user, moved)  # or added later, without any rows
        user, position = (np.where(known_anew, 0, part) for part in (asked.user, asked.position))
        next_positive = self._positives[offsets[user] + position]
        begin = self._offsets[user]
        end = begin + self.data.shown_rows[user]
        found = np.asarray(np.minimum(np.minimum(asked.row, next_positive), end) - begin, dtype=np.int64)
        for place in np.flatnonzero(known_anew).tolist():
            found[place] = changed.get(int(asked.user[place]), NOBODY).before(int(asked.position[place]))
        return found

    def on(self, data: PreparedData) -> "RatedHistory":
        """Return the same for other data with the same rows."""
        other = RatedHistory(data)
        other.__dict__.update({name: getattr(self, name) for name in ("_offsets", "_positives")})
        return other

    @cached_property
    def _offsets(self) -> Ints:
        begins = np.searchsorted(self.data.every.user, np.arange(self.data.num_users + 2))
        return np.asarray(begins, dtype=np.int64)

    @cached_property
    def _positives(self) -> Ints:
        """The positives' indices among all rows, then the number of rows: (positives + 1,)."""
        places: Ints = np.append(np.flatnonzero(self.data.every.label > 0), len(self.data.every))
        return places
