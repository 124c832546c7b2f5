"""How sure is a metric: a bootstrap over users.

A user's rows depend on each other, so users are drawn, not rows: with replacement, as many as there are. A draw is a
vector of counts w over users, and nothing is copied or sorted again for it: the rows are sorted by score once, and with
row weights w[user]

    AUC_w = sum over ties t of W+_t * (W-_below_t + W-_t / 2)  /  (W+ * W-)        UAUC_w = sum_u w_u AUC_u / sum_u w_u

are sums over arrays. Two models on the same rows get the same draws, so their difference is paired.
Source of the method: Efron and Tibshirani, An Introduction to the Bootstrap, 1993 (percentile intervals).
"""

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from recsys_lora.evaluation.predictions import Predictions
from recsys_lora.metrics.ranking import auc, checked, log_loss, row_log_loss, uauc, user_auc

Metric = Literal["auc", "uauc", "log_loss"]
METRICS: tuple[Metric, ...] = get_args(Metric)
Floats = NDArray[np.float64]
LEVEL = 0.95
ELEMENTS_AT_ONCE = 4_000_000
"""Row weights held at once (32 MB); more draws are done in parts."""


class Interval(NamedTuple):
    """A value and its percentile interval; NaN where undefined."""

    value: float
    low: float
    high: float


def interval(predictions: Predictions, metric: Metric, seed: int = 0, draws: int = 1000) -> Interval:
    """Return a metric with its 95 % bootstrap interval over users."""
    return intervals(predictions, draws, seed)[metric]


def intervals(predictions: Predictions, draws: int = 1000, seed: int = 0) -> dict[Metric, Interval]:
    """Return each metric with its 95 % bootstrap interval over users, all from the same draws."""
    drawn = bootstrap(predictions, draws, seed)
    return {metric: Interval(_value(predictions, metric), *_percentiles(drawn[metric])) for metric in METRICS}


def paired_difference(
    first: Predictions, second: Predictions, metric: Metric, seed: int = 0, draws: int = 1000
) -> Interval:
    """Return metric(first) - metric(second) on the same rows, with its 95 % bootstrap interval over users.

    Args:
        first: one model's predictions.
        second: the other's, of the same rows in any order.
        metric: which.
        seed: decides the draws.
        draws: how many.

    Raises:
        ValueError: the two are not about the same rows.
    """
    if not np.array_equal(np.sort(first.row), np.sort(second.row)):
        raise ValueError("a paired difference needs predictions of the same rows")
    first, second = first.take(np.argsort(first.row)), second.take(np.argsort(second.row))
    difference = bootstrap(first, draws, seed)[metric] - bootstrap(second, draws, seed)[metric]
    return Interval(_value(first, metric) - _value(second, metric), *_percentiles(difference))


def bootstrap(predictions: Predictions, draws: int, seed: int) -> dict[Metric, Floats]:
    """Return each metric of each draw, (draws,); NaN where a draw leaves it undefined (one class only)."""
    users, user = np.unique(predictions.user, return_inverse=True)
    result: dict[Metric, Floats] = {metric: np.full(draws, np.nan) for metric in METRICS}
    if len(users) == 0:
        return result
    positive, score = checked(predictions.label, predictions.score)
    per_user = _user_sums(predictions, users, user)
    rows = _SortedRows(user, positive, score)
    random = np.random.default_rng(seed)
    at_once = max(1, ELEMENTS_AT_ONCE // max(len(score), len(users)))
    shares = np.full(len(users), 1 / len(users))
    for start in range(0, draws, at_once):
        part = slice(start, min(draws, start + at_once))
        weight = random.multinomial(len(users), shares, size=part.stop - start).astype(np.float64)  # (d, U)
        result["auc"][part] = rows.weighted_auc(weight)
        result["uauc"][part] = _ratio(weight @ per_user["auc"], weight @ per_user["has_auc"])
        result["log_loss"][part] = _ratio(weight @ per_user["loss"], weight @ per_user["rows"])
    return result


class _SortedRows:
    """Rows by ascending score, ready to be summed under any weights of users."""

    def __init__(self, user: NDArray[np.int64], positive: NDArray[np.bool_], score: Floats) -> None:
        order = np.argsort(score, kind="stable")
        self.user, self.positive, score = user[order], positive[order].astype(np.float64), score[order]
        self.tie_start = np.flatnonzero(np.r_[True, score[1:] != score[:-1]])

    def weighted_auc(self, weight: Floats) -> Floats:
        """Return the AUC under each row of user weights (d, U), as (d,)."""
        rows = weight[:, self.user]  # (d, n)
        total = np.add.reduceat(rows, self.tie_start, axis=1)  # (d, ties)
        pos = np.add.reduceat(rows * self.positive, self.tie_start, axis=1)
        neg = total - pos
        below = np.cumsum(neg, axis=1) - neg
        wins = (pos * (below + neg / 2)).sum(axis=1)
        return _ratio(wins, pos.sum(axis=1) * neg.sum(axis=1))


def _user_sums(predictions: Predictions, users: NDArray[np.int64], user: NDArray[np.int64]) -> dict[str, Floats]:
    """Return, (U,) each: own AUC (0 where there is none), whether there is one, summed log loss, rows."""
    valid, values = user_auc(predictions.user, predictions.label, predictions.score)
    own: Floats = np.zeros(len(users))
    has = np.isin(users, valid)
    own[has] = values
    losses = row_log_loss(predictions.label, predictions.score)
    loss = np.asarray(np.bincount(user, weights=losses, minlength=len(users)), dtype=np.float64)
    rows = np.asarray(np.bincount(user, minlength=len(users)), dtype=np.float64)
    return {"auc": own, "has_auc": has.astype(np.float64), "loss": loss, "rows": rows}


def _ratio(top: Floats, bottom: Floats) -> Floats:
    result: Floats = np.full(len(top), np.nan)
    return np.divide(top, bottom, out=result, where=bottom > 0)


def _percentiles(drawn: Floats) -> tuple[float, float]:
    """Return the ends of the interval over the draws where the metric exists."""
    defined = drawn[~np.isnan(drawn)]
    if len(defined) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _value(predictions: Predictions, metric: Metric) -> float:
    if metric == "auc":
        return auc(predictions.label, predictions.score)
    if metric == "uauc":
        return uauc(predictions.user, predictions.label, predictions.score)[0]
    return log_loss(predictions.label, predictions.score)
