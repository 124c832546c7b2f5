"""How many stars would this user give this item? Ratings from logits, their errors, and baselines.

With logits z_k of the choices v_k (K of them, 1..5), p = softmax(z):

    expected = sum_k p_k v_k        argmax = v_{argmax_k z_k}
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from recsys_lora.data.prepared import PreparedData
from recsys_lora.data.schema import SplitName
from recsys_lora.evaluation.baselines import PSEUDO_ROWS
from recsys_lora.evaluation.statistics import Mean, RootMean, Statistic
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.selection import Limit, asked_rows, generator, sample
from recsys_lora.tasks.task import Floats, Kind, Output, RatingPredictions, Raw, Task
from recsys_lora.utils.errors import UserError


class RatingTask(Task):
    """The base class of tasks answered by one of the scale's whole numbers; a subclass defines the questions."""

    kind: Kind = "choice"

    @property
    def choices(self) -> tuple[str, ...]:
        """The scale's whole numbers."""
        return self.scale.choices

    def predict(self, raw: Raw, questions: Questions) -> RatingPredictions:
        """Return expected value and argmax from logits (n, K)."""
        logits, values = np.asarray(raw, dtype=np.float64), self.scale.values
        chance = np.exp(logits - logits.max(axis=1, keepdims=True))
        chance /= chance.sum(axis=1, keepdims=True)
        return RatingPredictions(chance @ values, values[logits.argmax(axis=1)])

    def averaged(self, outputs: Sequence[Output]) -> RatingPredictions:
        """Return the mean over seeds of the expected ratings, with the nearest choices; one seed's are unchanged."""
        ratings = [_checked(output) for output in outputs]
        if len(ratings) == 1:
            return ratings[0]
        return self._with_nearest(np.asarray(np.mean([rating.expected for rating in ratings], axis=0)))

    def metrics(self, questions: Questions, output: Output) -> list[Statistic]:
        """Return MAE and RMSE of the expected value and of the argmax, and how often the argmax is right."""
        ratings, truth, user = _checked(output), questions.label.astype(np.float64), questions.user
        error, error_argmax = ratings.expected - truth, ratings.argmax - truth
        return [
            Mean("mae", user, np.abs(error), higher_is_better=False),
            RootMean("rmse", user, error**2),
            Mean("mae_argmax", user, np.abs(error_argmax), higher_is_better=False),
            RootMean("rmse_argmax", user, error_argmax**2),
            Mean("accuracy", user, (ratings.argmax == truth).astype(np.float64)),
        ]

    def baselines(self, data: PreparedData, questions: Questions, train: Questions) -> dict[str, Output]:
        """Return the most frequent choice, the global mean, and each item's mean, shrunk towards it if rows are few.

        Raises:
            UserError: there are no training questions.
        """
        if not len(train):
            raise UserError("train: no rated rows, so mean ratings cannot be computed: check the data's split")
        rows, scale = len(questions), self.scale
        overall = float(train.label.mean(dtype=np.float64))
        mode = float(scale.values[np.bincount(scale.nearest(train.label)).argmax()])
        return {
            "constant_mode": self._with_nearest(np.full(rows, mode)),
            "global_mean": self._with_nearest(np.full(rows, overall)),
            "item_mean": self._with_nearest(_item_means(train, overall, questions.item)),
        }

    def _with_nearest(self, expected: Floats) -> RatingPredictions:
        inside = np.clip(expected, self.scale.low, self.scale.high)
        return RatingPredictions(expected, self.scale.values[self.scale.nearest(inside)])


class Rating(RatingTask):
    """The rating of every labelled row; see `Task` for the arguments."""

    name: ClassVar[str] = "rating"

    def questions(self, data: PreparedData, split: SplitName, limit: Limit, seed: int) -> Questions:
        """Return a question for every row of the split."""
        rows, most = asked_rows(data, split, limit, seed, self.history_range)
        rows = rows.take(sample(len(rows), most, generator(self.name, split, seed)))
        return Questions.of(rows, self.scale.nearest(rows.rating), rows.rating)


def _checked(output: Output) -> RatingPredictions:
    """Return predictions that are ratings; raise a `TypeError` for others."""
    if not isinstance(output, RatingPredictions):
        raise TypeError(f"predicted ratings are needed, not {type(output).__name__}")
    return output


def _item_means(train: Questions, overall: float, item: NDArray[np.int64]) -> Floats:
    size = int(max(train.item.max(), item.max(initial=0))) + 1
    count = np.bincount(train.item, minlength=size)
    total = np.bincount(train.item, weights=train.label.astype(np.float64), minlength=size)
    return np.asarray(((total + PSEUDO_ROWS * overall) / (count + PSEUDO_ROWS))[item])
