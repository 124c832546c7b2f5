"""A logistic regression over several scores: what a method adds to predictors that are free.

    logit = b + sum over scores k of w_k (s_k - mean_k) / std_k

It is fitted by Newton's method on rows that nothing but the choice of models has seen, with a ridge of `RIDGE` on the
weights, so that it exists where the scores separate the rows. Two stacks, with a method's score and without it, differ
by what the method knows beyond the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RIDGE = 1.0
"""Of the sum over rows of the loss: a ridge of one row's weight."""
_STEPS, _CLOSE = 50, 1e-10


@dataclass(frozen=True)
class Stack:
    """A fitted stack.

    Attributes:
        mean: of each score on the rows that it was fitted on, by name.
        std: their standard deviations; 1 where a score is constant.
        weights: of each score in units of its standard deviation, by name.
        intercept: b.
        rows: how many rows it was fitted on.
    """

    mean: Mapping[str, float]
    std: Mapping[str, float]
    weights: Mapping[str, float]
    intercept: float
    rows: int

    @classmethod
    def fit(cls, scores: Mapping[str, Floats], label: NDArray[np.float32]) -> "Stack":
        """Fit.

        Args:
            scores: finite ones (n,), by name.
            label: (n,) 0 or 1, both present.

        Raises:
            ValueError: the labels are of one class.
        """
        if len(np.unique(label)) < 2:
            raise ValueError("a stack needs rows of both classes")
        mean = {name: float(values.mean()) for name, values in scores.items()}
        std = {name: float(values.std()) or 1.0 for name, values in scores.items()}
        columns = [(values - mean[name]) / std[name] for name, values in scores.items()]
        x = np.column_stack([np.ones(len(label)), *columns])  # (n, 1 + k)
        found = _newton(x, np.asarray(label, dtype=np.float64))
        weights = {name: float(weight) for name, weight in zip(scores, found[1:], strict=True)}
        return cls(mean, std, weights, float(found[0]), len(label))

    def score(self, scores: Mapping[str, Floats]) -> Floats:
        """Return the logits (n,) of rows with these scores."""
        parts = [self.weights[name] * (scores[name] - self.mean[name]) / self.std[name] for name in self.weights]
        return np.asarray(self.intercept + np.sum(parts, axis=0))


def _newton(x: Floats, label: Floats) -> Floats:
    """Return the weights (k,) that minimise the sum of logistic losses and RIDGE / 2 |w|^2, the first not shrunk."""
    ridge = RIDGE * np.diag([0.0, *[1.0] * (x.shape[1] - 1)])
    weights = np.zeros(x.shape[1])
    loss = _loss(x, label, weights, ridge)
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(x @ weights, -500, 500)))
        gradient = x.T @ (chance - label) + ridge @ weights
        step = np.linalg.solve((x * (chance * (1 - chance))[:, None]).T @ x + ridge, gradient)
        size = 1.0
        while (after := _loss(x, label, weights - size * step, ridge)) > loss and size > _CLOSE:
            size /= 2
        weights, loss = weights - size * step, after
        if np.abs(size * step).max() < _CLOSE:
            break
    return weights


def _loss(x: Floats, label: Floats, weights: Floats, ridge: Floats) -> float:
    logit = x @ weights
    return float((np.logaddexp(0, logit) - label * logit).sum() + weights @ ridge @ weights / 2)
