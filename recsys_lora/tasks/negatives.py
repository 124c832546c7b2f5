"""Sampled negatives: never items that the user is known to like, in any split, unless requested."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recsys_lora.data.prepared import PreparedData, Rows
from recsys_lora.data.schema import SplitName
from recsys_lora.data.split import ColdItems
from recsys_lora.tasks.selection import report_left_out
from recsys_lora.tasks.task import Task
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.words import counted

Sampling = Literal["uniform", "popularity"]
Ints = NDArray[np.int64]
_ROUNDS = 200
"""Rounds that redraw unfit items for all rows at once; any that remain are drawn row by row."""


class NegativeSampler:
    """Draws distinct items for each question.

    Items are drawn from the whole catalogue, for training questions only from the items that occur in train: a model
    must not learn that items of later rows only are disliked. If items are held out (`cold_items`), those of valid and
    test are drawn from the split's own items: otherwise the right one could be told by being new.

    Args:
        data: the data set.
        split: the split of the questions.
        sampling: all items alike, or as often as they occur in train.
        any_item: draw from all items, including the user's positives, as the authors' code does; only the question's
            own item is excluded.

    Raises:
        UserError: items that do not occur in train are to be sampled by popularity.
    """

    def __init__(self, data: PreparedData, split: SplitName, sampling: Sampling, any_item: bool = False) -> None:
        self.data = data
        self.split = split
        self.any_item = any_item
        counts = data.train_counts()[1].astype(np.float64)  # (N + 1,)
        weight = counts if sampling == "popularity" else np.ones(data.num_items + 1)
        weight[0] = 0
        if split == "train" and not any_item:
            weight = np.where(counts > 0, weight, 0)
        elif not any_item and data.manifest["split"]["split"] == ColdItems.rule:
            if sampling == "popularity":
                raise UserError(
                    f"task.topk.sampling=popularity: with data/split={ColdItems.rule}, no item of {split} occurs in "
                    "train: set it to uniform"
                )
            weight = np.where(np.isin(np.arange(len(weight)), data.rows(split).item), weight, 0)
        self.weight = weight
        self.limits = np.cumsum(weight)
        owner = np.repeat(np.arange(len(data.history.offsets) - 1), np.diff(data.history.offsets))
        self.known = np.unique(self._pair(owner, data.history.items))

    def available(self, user: Ints) -> Ints:
        """Return how many items can be drawn for each user (n,) besides a positive."""
        drawable = int((self.weight > 0).sum())
        if self.any_item:
            return np.full(len(user), drawable - 1)
        owner, item = np.divmod(self.known, self.data.num_items + 1)
        taken = np.bincount(owner[self.weight[item] > 0], minlength=self.data.num_users + 1)
        return drawable - taken[user]

    def drawable(self, rows: Rows, count: int, task: Task, advice: str) -> Rows:
        """Return the positives for which `count` items can be drawn, and log how many are left out.

        Raises:
            UserError: there are none.
        """
        enough = self.available(rows.user) >= count
        reason = f"the user likes all but fewer than {counted(count, 'item')}"
        report_left_out(task.name, self.split, reason, int((~enough).sum()), len(rows), task.logged)
        if len(rows) and not enough.any():
            among = f"{self.split} ({counted(self.data.num_items, 'item')})"
            raise UserError(
                f"task {task.name}: no user has {counted(count, 'item')} left to sample in {among}: {advice}"
            )
        return rows.take(enough)

    def draw(self, user: Ints, item: Ints, count: int, random: np.random.Generator) -> Ints:
        """Return `count` distinct items (n, count) for each question, excluding its own item (n,).

        `available(user)` must be at least `count` everywhere.
        """
        result = np.zeros((len(user), count), dtype=np.int64)
        unfit = np.ones(result.shape, dtype=np.bool_)
        for _ in range(_ROUNDS):
            if not unfit.any():
                return result
            points = random.random(int(unfit.sum())) * self.limits[-1]
            result[unfit] = np.searchsorted(self.limits, points, side="right")
            unfit = self._unfit(user, item, result)
        for row in np.flatnonzero(unfit.any(axis=1)):
            result[row] = self._one(user[row], item[row], count, random)
        return result

    def _unfit(self, user: Ints, item: Ints, drawn: Ints) -> NDArray[np.bool_]:
        """Return which draws (n, count) are forbidden or repeat an earlier one of their row."""
        order = np.argsort(drawn, axis=1, kind="stable")
        ordered = np.take_along_axis(drawn, order, axis=1)
        repeated = np.zeros(drawn.shape, dtype=np.bool_)
        again = np.concatenate([np.zeros((len(drawn), 1), np.bool_), ordered[:, 1:] == ordered[:, :-1]], axis=1)
        np.put_along_axis(repeated, order, again, axis=1)
        unfit: NDArray[np.bool_] = repeated | (drawn == item[:, None])
        if not self.any_item:
            unfit |= np.isin(self._pair(user[:, None], drawn), self.known)
        return unfit

    def _one(self, user: int, item: int, count: int, random: np.random.Generator) -> Ints:
        weight = self.weight.copy()
        weight[item] = 0
        if not self.any_item:
            offsets = self.data.history.offsets
            weight[self.data.history.items[offsets[user] : offsets[user + 1]]] = 0
        return random.choice(len(weight), count, replace=False, p=weight / weight.sum())

    def _pair(self, user: Ints, item: Ints) -> Ints:
        return user * (self.data.num_items + 1) + item
