"""Errors of predicted ratings, in the rating scale's own units."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def mae(rating: Array, predicted: Array) -> float:
    """Return the mean absolute error over (n,) rows; NaN without rows.

    Raises:
        ValueError: the shapes differ or a value is NaN.
    """
    error = _errors(rating, predicted)
    return float(np.abs(error).mean()) if len(error) else float("nan")


def rmse(rating: Array, predicted: Array) -> float:
    """Return the root of the mean squared error over (n,) rows; NaN without rows.

    Raises:
        ValueError: the shapes differ or a value is NaN.
    """
    error = _errors(rating, predicted)
    return float(np.sqrt((error**2).mean())) if len(error) else float("nan")


def _errors(rating: Array, predicted: Array) -> NDArray[np.float64]:
    rating, predicted = np.asarray(rating, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if rating.ndim != 1 or rating.shape != predicted.shape:
        raise ValueError(f"rating has shape {rating.shape}, predicted {predicted.shape}: both must be (n,)")
    if np.isnan(rating).any() or np.isnan(predicted).any():
        raise ValueError("a rating or a prediction is NaN")
    return predicted - rating
