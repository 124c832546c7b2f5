"""Predictors that know nothing of the user: what any method has to beat.

The chance that item i is liked, shrunk towards the mean of all rows where it has few,

    p_i = (positives_i + m * p) / (rows_i + m)         score = log(p_i / (1 - p_i))

with p the share of positives in train and m a number of pretended rows. An item unseen in train scores p.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys_lora.errors import UserError

PRETENDED_ROWS = 5.0
EDGE = 1e-6


@dataclass(frozen=True)
class ItemMean:
    """Item-mean popularity from training rows.

    Attributes:
        logit: (N + 1,) the score of each item number.
        overall: the share of positives in train.
    """

    logit: NDArray[np.float64]
    overall: float

    @classmethod
    def fit(
        cls, item: NDArray[Any], label: NDArray[Any], num_items: int, pretended_rows: float = PRETENDED_ROWS
    ) -> "ItemMean":
        """Count.

        Args:
            item: (n,) item numbers of the training rows.
            label: (n,) 0 or 1.
            num_items: the largest item number N.
            pretended_rows: m > 0, how many rows of average liking each item is given.

        Raises:
            UserError: there are no training rows.
        """
        if len(item) == 0:
            raise UserError("train: no rows, so item popularity cannot be computed: check the data's split")
        overall = float(np.mean(label))
        rows = np.bincount(item, minlength=num_items + 1)
        positives = np.bincount(item, weights=label, minlength=num_items + 1)
        chance = (positives + pretended_rows * overall) / (rows + pretended_rows)
        chance = np.clip(chance, EDGE, 1 - EDGE)
        return cls(np.log(chance) - np.log1p(-chance), overall)

    def score(self, item: NDArray[Any]) -> NDArray[np.float64]:
        """Return the logit of each row's item, (n,)."""
        return np.asarray(self.logit[item])


def global_mean(label: NDArray[Any], rows: int) -> NDArray[np.float64]:
    """Return the constant logit of the training share of positives for `rows` rows: AUC .5, its log loss the floor."""
    chance = float(np.clip(np.mean(label), EDGE, 1 - EDGE))
    return np.full(rows, np.log(chance / (1 - chance)))
