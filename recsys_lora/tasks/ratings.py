"""Tasks that are answered by a rating: from logits to numbers, errors, and what needs no model.

With logits z_k of the choices v_k (K of them, 1..5), p = softmax(z):

    expected = sum_k p_k v_k        argmax = v_{argmax_k z_k}
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recsys_lora.data.prepared import PreparedData
from recsys_lora.evaluation.baselines import PRETENDED_ROWS
from recsys_lora.evaluation.statistics import Mean, RootMean, Statistic
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.scale import RatingScale
from recsys_lora.tasks.task import Floats, Kind, Output, RatingPredictions, Raw, Task
from recsys_lora.utils.errors import UserError


class RatingTask(Task):
    """The base of tasks whose answer is one of the scale's whole numbers; a subclass says what is asked."""

    kind: Kind = "choice"

    @property
    def choices(self) -> tuple[str, ...]:
        """The scale's whole numbers."""
        return self.scale.choices

    def predict(self, raw: Raw, questions: Questions) -> RatingPredictions:
        """Return expected value and argmax from logits (n, K)."""
        return _from_logits(np.asarray(raw, dtype=np.float64), self.scale)

    def averaged(self, outputs: Sequence[Output]) -> RatingPredictions:
        """Return the mean over seeds of the expected ratings, with the nearest choices."""
        return averaged([_checked(output) for output in outputs], self.scale)

    def metrics(self, questions: Questions, output: Output) -> list[Statistic]:
        """Return MAE, RMSE and accuracy."""
        return metrics(questions, _checked(output))

    def baselines(self, data: PreparedData, questions: Questions, train: Questions) -> dict[str, Output]:
        """Return the constant mode, the global mean and the item mean."""
        return {**baselines(self.scale, questions, train)}


def _from_logits(logits: Floats, scale: RatingScale) -> RatingPredictions:
    """Return predicted ratings from logits (n, K) of the scale's choices."""
    logits = np.asarray(logits, dtype=np.float64)
    chance = np.exp(logits - logits.max(axis=1, keepdims=True))
    chance /= chance.sum(axis=1, keepdims=True)
    return RatingPredictions(chance @ scale.values, scale.values[logits.argmax(axis=1)])


def _from_numbers(expected: Floats, scale: RatingScale) -> RatingPredictions:
    """Return predicted ratings (n,) together with the nearest choices."""
    return RatingPredictions(expected, scale.values[scale.nearest(np.clip(expected, scale.low, scale.high))])


def _checked(output: Output) -> RatingPredictions:
    """Return predictions that are ratings.

    Raises:
        TypeError: they are something else.
    """
    if not isinstance(output, RatingPredictions):
        raise TypeError(f"predicted ratings are needed, not {type(output).__name__}")
    return output


def averaged(outputs: Sequence[RatingPredictions], scale: RatingScale) -> RatingPredictions:
    """Return the mean of several seeds' expected ratings with the nearest choices; one seed's as they are."""
    if len(outputs) == 1:
        return outputs[0]
    return _from_numbers(np.asarray(np.mean([output.expected for output in outputs], axis=0)), scale)


def metrics(questions: Questions, output: RatingPredictions) -> list[Statistic]:
    """Return MAE and RMSE of the expected value and of the argmax, and how often the argmax is right."""
    truth, user = questions.label.astype(np.float64), questions.user
    error, error_argmax = output.expected - truth, output.argmax - truth
    return [
        Mean("mae", user, np.abs(error), higher_is_better=False),
        RootMean("rmse", user, error**2),
        Mean("mae_argmax", user, np.abs(error_argmax), higher_is_better=False),
        RootMean("rmse_argmax", user, error_argmax**2),
        Mean("accuracy", user, (output.argmax == truth).astype(np.float64)),
    ]


def baselines(scale: RatingScale, questions: Questions, train: Questions) -> dict[str, RatingPredictions]:
    """Return the most frequent choice, the mean of all, and each item's mean, shrunk to it where rows are few.

    Raises:
        UserError: there are no training questions.
    """
    if not len(train):
        raise UserError("train: no rated rows, so mean ratings cannot be computed: check the data's split")
    rows = len(questions)
    overall = float(train.label.mean(dtype=np.float64))
    mode = float(scale.values[np.bincount(scale.nearest(train.label)).argmax()])
    return {
        "constant_mode": _from_numbers(np.full(rows, mode), scale),
        "global_mean": _from_numbers(np.full(rows, overall), scale),
        "item_mean": _from_numbers(_item_means(train, overall, questions.item), scale),
    }


def _item_means(train: Questions, overall: float, item: NDArray[np.int64]) -> Floats:
    size = int(max(train.item.max(), item.max(initial=0))) + 1
    count = np.bincount(train.item, minlength=size)
    total = np.bincount(train.item, weights=train.label.astype(np.float64), minlength=size)
    return np.asarray(((total + PRETENDED_ROWS * overall) / (count + PRETENDED_ROWS))[item])
