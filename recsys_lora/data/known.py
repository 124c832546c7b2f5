"""Interactions of individual users who have more than a prepared data set holds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Known:
    """The interactions of one user, oldest first.

    Attributes:
        items: item numbers (n,).
        ratings: their ratings (n,).
        liked: which of them are positives (n,), the user's history.
    """

    items: NDArray[np.int64]
    ratings: NDArray[np.float32]
    liked: NDArray[np.bool_]

    @cached_property
    def positives(self) -> NDArray[np.int64]:
        """The items that the user likes (p,)."""
        return self.items[self.liked]

    @cached_property
    def positive_ratings(self) -> NDArray[np.float32]:
        """Their ratings (p,)."""
        return self.ratings[self.liked]

    def before(self, position: int) -> int:
        """Return how many interactions precede the positive at `position`, counted from 0; all if there is none."""
        places = np.flatnonzero(self.liked)
        return int(places[position]) if position < len(places) else len(self.items)

    def then(self, later: "Known") -> "Known":
        """Return these interactions followed by later ones."""
        return Known(*(np.concatenate([getattr(self, part), getattr(later, part)]) for part in PARTS))


PARTS = ("items", "ratings", "liked")
NOBODY = Known(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.bool_))


class Part(Mapping[int, NDArray[Any]]):
    """One attribute of `Known`, by user."""

    def __init__(self, known: Mapping[int, Known], name: str) -> None:
        self.known = known
        self.name = name

    def __getitem__(self, user: int) -> NDArray[Any]:
        part: NDArray[Any] = getattr(self.known[user], self.name)
        return part

    def __iter__(self) -> Iterator[int]:
        return iter(self.known)

    def __len__(self) -> int:
        return len(self.known)
