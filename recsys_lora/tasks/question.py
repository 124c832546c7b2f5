"""The questions of one task and split, as arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys_lora.data.history import Pairs
from recsys_lora.data.prepared import Rows
from recsys_lora.utils.errors import UserError


@dataclass(frozen=True)
class Questions:
    """Parallel arrays with one entry per question.

    Attributes:
        row: (n,) int64, index in interactions.parquet of the row behind the question.
        user: (n,) int64, numbers from 1.
        item: (n,) int64, the item that decides whether the question is warm: the candidate, or the right one of many.
        position: (n,) int64, how many of the user's positives come before the row.
        timestamp: (n,) int64, seconds UTC.
        items: (n, C) int64, the candidates in the order in which they are shown, padded with 0.
        target: (n,) int64, which choice or candidate is right; -1 where the answer is free text.
        label: (n,) float32, the truth: 1 for a positive and 0 for others, or a rating.
        texts: additional slots of each prompt.
        answers: free-text answers, None for tasks that have none.
        suffix: suffix of the metrics' names that tells how candidates were sampled, "" if none were.
    """

    row: NDArray[np.int64]
    user: NDArray[np.int64]
    item: NDArray[np.int64]
    position: NDArray[np.int64]
    timestamp: NDArray[np.int64]
    items: NDArray[np.int64]
    target: NDArray[np.int64]
    label: NDArray[np.float32]
    texts: tuple[Mapping[str, str], ...]
    answers: tuple[str, ...] | None = None
    suffix: str = ""

    def __post_init__(self) -> None:
        lengths = {len(getattr(self, name)) for name in (*_ARRAYS, "texts")}
        if len(lengths) > 1 or (self.answers is not None and len(self.answers) not in lengths):
            raise ValueError(f"a question needs one entry in every array, found arrays of {sorted(lengths)} entries")

    @classmethod
    def of(
        cls,
        rows: Rows,
        target: NDArray[Any],
        label: NDArray[Any],
        texts: tuple[Mapping[str, str], ...] | None = None,
        answers: tuple[str, ...] | None = None,
    ) -> "Questions":
        """Return one question per row, about the row's own item."""
        return cls(
            row=rows.row.astype(np.int64),
            user=rows.user.astype(np.int64),
            item=rows.item.astype(np.int64),
            position=rows.position.astype(np.int64),
            timestamp=rows.timestamp.astype(np.int64),
            items=rows.item.astype(np.int64)[:, None],
            target=np.asarray(target, dtype=np.int64),
            label=np.asarray(label, dtype=np.float32),
            texts=({},) * len(rows) if texts is None else texts,
            answers=answers,
        )

    def __len__(self) -> int:
        return len(self.row)

    def take(self, index: NDArray[np.integer[Any]] | NDArray[np.bool_]) -> "Questions":
        """Return the questions at `index`, in that order; a mask works, too."""
        places = np.flatnonzero(index) if index.dtype == np.bool_ else index
        arrays = {name: getattr(self, name)[places] for name in _ARRAYS}
        texts = tuple(self.texts[place] for place in places)
        answers = None if self.answers is None else tuple(self.answers[place] for place in places)
        return Questions(**arrays, texts=texts, answers=answers, suffix=self.suffix)

    def pairs(self) -> Pairs:
        """Return each question's user paired with each of its candidates, grouped by question."""
        row, column = np.nonzero(self.items)
        return Pairs(self.user[row], self.items[row, column], self.position[row])

    def of_other_users(self, seed: int) -> "Questions":
        """Return the same questions as if other users asked them: each user is replaced by another one.

        Raises:
            UserError: all questions are of one user.
        """
        others = rows_of_others(self.user, seed)
        return replace(self, user=self.user[others], position=self.position[others])


_ARRAYS = ("row", "user", "item", "position", "timestamp", "items", "target", "label")


def rows_of_others(user: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return for every row the index of a row of another user (n,), the same other user for all rows of a user.

    Raises:
        UserError: all rows are of one user.
    """
    users, which, counts = np.unique(user, return_inverse=True, return_counts=True)
    if len(users) < 2:
        raise UserError("users cannot be shuffled: the rows are all of one user: set evaluation.shuffled_rows=0")
    circle = np.random.default_rng(seed).permutation(len(users))
    other = np.empty_like(circle)
    other[circle] = np.roll(circle, 1)  # the next one in a circle: no user keeps its own rows
    by_user = np.argsort(user, kind="stable")
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    turn = np.empty(len(user), dtype=np.int64)
    turn[by_user] = np.arange(len(user)) - np.repeat(first, counts)  # a row's number among its user's rows
    theirs = other[which]
    rows: NDArray[np.int64] = by_user[first[theirs] + turn % counts[theirs]]
    return rows
