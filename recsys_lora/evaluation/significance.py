"""How sure are the metrics of yes-or-no predictions: a bootstrap over users (see `bootstrap.py`)."""

from typing import Literal, get_args

import numpy as np

from recsys_lora.evaluation.bootstrap import Floats, Interval, Statistic, draws_of, percentiles
from recsys_lora.evaluation.predictions import Predictions
from recsys_lora.evaluation.statistics import AUC, UAUC, Mean
from recsys_lora.metrics.ranking import auc, log_loss, row_log_loss, uauc

Metric = Literal["auc", "uauc", "log_loss"]
METRICS: tuple[Metric, ...] = get_args(Metric)


def interval(predictions: Predictions, metric: Metric, seed: int = 0, draws: int = 1000) -> Interval:
    """Return a metric with its 95 % bootstrap interval over users."""
    return intervals(predictions, draws, seed)[metric]


def intervals(predictions: Predictions, draws: int = 1000, seed: int = 0) -> dict[Metric, Interval]:
    """Return each metric with its 95 % bootstrap interval over users, all from the same draws."""
    drawn = bootstrap(predictions, draws, seed)
    return {metric: Interval(_value(predictions, metric), *percentiles(drawn[metric])) for metric in METRICS}


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
    return Interval(_value(first, metric) - _value(second, metric), *percentiles(difference))


def bootstrap(predictions: Predictions, draws: int, seed: int) -> dict[Metric, Floats]:
    """Return each metric of each draw, (draws,); NaN where a draw leaves it undefined (one class only)."""
    user, label, score = predictions.user, predictions.label, predictions.score
    statistics: dict[Metric, Statistic] = {
        "auc": AUC("auc", user, label, score),
        "uauc": UAUC("uauc", user, label, score),
        "log_loss": Mean("log_loss", user, row_log_loss(label, score), higher_is_better=False),
    }
    return dict(zip(statistics, draws_of(list(statistics.values()), user, draws, seed), strict=True))


def _value(predictions: Predictions, metric: Metric) -> float:
    if metric == "auc":
        return auc(predictions.label, predictions.score)
    if metric == "uauc":
        return uauc(predictions.user, predictions.label, predictions.score)[0]
    return log_loss(predictions.label, predictions.score)
