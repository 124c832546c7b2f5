"""A regression over several scores: what a method adds to predictors that are free.

A question has one right answer among several; u is an answer's utility, and answer c has probability softmax(u)_c:

    u_c = sum over scores k of w_k (s_kc - mean_k) / std_k

This is McFadden's conditional logit. A yes-or-no question has one score per predictor, that of Yes: u_yes = b + the
same sum, u_no = 0, a logistic regression. Both are fitted by Newton's method on questions used for nothing but model
selection, with a ridge of `RIDGE` on the weights, so that they exist even if the scores separate the answers. Two
stacks, with a method's score and without it, differ by what the method knows beyond the others.

Source: McFadden, Conditional logit analysis of qualitative choice behavior, 1974.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RIDGE = 1.0
"""Relative to the loss summed over questions: a ridge of one question's weight."""
_STEPS, _CLOSE = 50, 1e-10
_CONSTANT = 1e-12
"""A standard deviation of less than this share of the largest score is rounding: the score is constant."""


@dataclass(frozen=True)
class Stack:
    """A fitted stack.

    Attributes:
        mean: of each score on the questions that the stack was fitted on, by name.
        std: their standard deviations; 1 where a score is constant.
        weights: of each score in units of its standard deviation, by name.
        intercept: b; 0 for questions with several candidates.
        rows: how many questions it was fitted on.
    """

    mean: Mapping[str, float]
    std: Mapping[str, float]
    weights: Mapping[str, float]
    intercept: float
    rows: int

    @classmethod
    def fit(cls, scores: Mapping[str, Floats], target: NDArray[np.int64]) -> "Stack":
        """Fit a stack.

        Args:
            scores: by name: (n,), of Yes, or (n, C), of each candidate, -inf where there is none.
            target: (n,) index of the right answer: 0 for Yes and 1 for No with (n,) scores, both present; the column
                with (n, C).

        Raises:
            ValueError: there are no questions, or all yes-or-no questions have the same answer.
        """
        if not can_be_fitted(list(scores.values()), target):
            raise ValueError("a stack needs questions, of two answers both of them")
        present = {name: values[np.isfinite(values)] for name, values in scores.items()}
        mean = {name: float(values.mean()) for name, values in present.items()}
        std = {name: _std(values) for name, values in present.items()}
        columns = [(values - mean[name]) / std[name] for name, values in scores.items()]
        binary = columns[0].ndim == 1
        if binary:  # Yes has the scores and the intercept, No has nothing
            x = np.stack([np.ones(len(target)), *columns], axis=-1)  # (n, 1 + k)
            x = np.stack([x, np.zeros_like(x)], axis=1)  # (n, 2, 1 + k)
        else:
            x = np.stack(columns, axis=-1)  # (n, C, k)
        there = np.isfinite(x).all(axis=-1)  # (n, C)
        shrunk = np.ones(x.shape[-1])
        shrunk[0] = not binary
        found = _newton(np.where(there[..., None], x, 0.0), there, target, RIDGE * np.diag(shrunk))
        intercept, weights = (float(found[0]), found[1:]) if binary else (0.0, found)
        return cls(mean, std, dict(zip(scores, weights.tolist(), strict=True)), intercept, len(target))

    def score(self, scores: Mapping[str, Floats]) -> Floats:
        """Return the logits (n,) of Yes, or the utilities (n, C), -inf where there is no candidate."""
        there = np.all([np.isfinite(scores[name]) for name in self.weights], axis=0)
        parts = [
            weight * (np.where(there, scores[name], 0.0) - self.mean[name]) / self.std[name]
            for name, weight in self.weights.items()
        ]
        return np.where(there, self.intercept + np.sum(parts, axis=0), -np.inf)


def _std(values: Floats) -> float:
    spread = float(values.std())
    return spread if spread > _CONSTANT * np.abs(values).max() else 1.0


def can_be_fitted(scores: Sequence[Floats], target: NDArray[np.int64]) -> bool:
    """Return whether a stack can be fitted: there are questions, and both answers occur if there are two."""
    several = any(one.ndim > 1 for one in scores)
    return len(np.unique(target)) > 1 or (several and len(target) > 0)


def _newton(x: Floats, there: NDArray[np.bool_], target: NDArray[np.int64], ridge: Floats) -> Floats:
    """Return the weights (k,) that minimise the sum of -log softmax(x w)_target and w ridge w / 2.

    Args:
        x: (n, C, k), finite.
        there: (n, C) which answers a question has.
        target: (n,) the column of the right one.
        ridge: (k, k).
    """
    right = x[np.arange(len(x)), target].sum(axis=0)  # (k,)
    weights = np.zeros(x.shape[-1])
    loss, chance = _loss(x, there, right, weights, ridge)
    for _ in range(_STEPS):
        expected = np.einsum("nc,nck->nk", chance, x)  # (n, k)
        gradient = expected.sum(axis=0) - right + ridge @ weights
        weighted = (x * chance[..., None]).reshape(-1, x.shape[-1])  # (n C, k)
        curvature = weighted.T @ x.reshape(-1, x.shape[-1]) - expected.T @ expected + ridge
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while (after := _loss(x, there, right, weights - size * step, ridge))[0] > loss and size > _CLOSE:
            size /= 2
        weights, (loss, chance) = weights - size * step, after
        if np.abs(size * step).max() < _CLOSE:
            break
    return weights


def _loss(x: Floats, there: NDArray[np.bool_], right: Floats, weights: Floats, ridge: Floats) -> tuple[float, Floats]:
    """Return the loss, and the probabilities (n, C) of the answers."""
    utility = np.where(there, x @ weights, -np.inf)  # (n, C)
    log_total = np.logaddexp.reduce(utility, axis=1)  # (n,)
    loss = log_total.sum() - right @ weights + weights @ ridge @ weights / 2
    return float(loss), np.exp(utility - log_total[:, None])
