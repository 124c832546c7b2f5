"""Predictors that count training rows: what any method has to beat.

The probability that a row of item i (or of user u) is positive, shrunk towards the mean of all rows if there are few,

    p_i = (positives_i + m * p) / (rows_i + m)         score = log(p_i / (1 - p_i))

with p the share of positives in train and m a number of pseudo-rows. Those unseen in train score p. Item and user
together add what each contributes beyond p,

    score(u, i) = logit p_i + logit p_u - logit p

as if the two were independent given the answer.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys_lora.utils.errors import UserError

PSEUDO_ROWS = 5.0
_EDGE = 1e-6


@dataclass(frozen=True)
class PositiveShare:
    """The share of positives among the training rows of each item, or of each user.

    Attributes:
        logit: (n + 1,) the score of each number.
        overall: the share of positives in train.
    """

    logit: NDArray[np.float64]
    overall: float

    @classmethod
    def fit(
        cls, number: NDArray[Any], label: NDArray[Any], largest: int, pseudo_rows: float = PSEUDO_ROWS
    ) -> "PositiveShare":
        """Count training rows.

        Args:
            number: (n,) item or user numbers of the training rows.
            label: (n,) 0 or 1.
            largest: the largest number.
            pseudo_rows: m > 0, rows of the mean share that are added to each.

        Raises:
            UserError: there are no training rows.
        """
        if len(number) == 0:
            raise UserError("train: no rows, so shares of positives cannot be computed: check the data's split")
        overall = float(np.mean(label))
        rows = np.bincount(number, minlength=largest + 1)
        positives = np.bincount(number, weights=label, minlength=largest + 1)
        return cls(_logit((positives + pseudo_rows * overall) / (rows + pseudo_rows)), overall)

    def score(self, number: NDArray[Any]) -> NDArray[np.float64]:
        """Return the logit of each row's item or user, (n,)."""
        return np.asarray(self.logit[number])

    def chance(self, number: NDArray[Any]) -> NDArray[np.float64]:
        """Return p of each row's item or user, (n,)."""
        return np.asarray(1 / (1 + np.exp(-self.logit[number])))


def item_and_user(
    items: PositiveShare, users: PositiveShare, item: NDArray[Any], user: NDArray[Any]
) -> NDArray[np.float64]:
    """Return the logit of rows (n,) from their item's and their user's share of positives combined."""
    return items.score(item) + users.score(user) - _logit(np.array(items.overall))


def global_mean(label: NDArray[Any], rows: int) -> NDArray[np.float64]:
    """Return the constant logit of the training share of positives for `rows` rows: AUC .5, log loss to beat."""
    return np.full(rows, _logit(np.mean(label)))


def _logit(chance: Any) -> NDArray[np.float64]:
    chance = np.clip(np.asarray(chance, dtype=np.float64), _EDGE, 1 - _EDGE)
    return np.asarray(np.log(chance) - np.log1p(-chance))
