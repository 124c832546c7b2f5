"""Confidence intervals of metrics: a bootstrap over users.

A user's rows depend on each other, so users are drawn, not rows: with replacement, as many as there are. A draw is a
vector of counts over users, under which a statistic can compute its value. Statistics on the same users get the same
draws, so their difference is paired.
Source of the method: Efron and Tibshirani, An Introduction to the Bootstrap, 1993 (percentile intervals).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float64]
_LEVEL = 0.95
ELEMENTS_AT_ONCE = 4_000_000
"""Number of weights held at once (32 MB); more draws are done in parts."""
_FEWEST = 2
"""Minimum number of users for draws to differ."""


class Statistic(ABC):
    """A metric of scored rows that can be recomputed under weights of users.

    Attributes:
        name: its name in tables.
        higher_is_better: which direction is an improvement.
        users: the users behind its rows, ascending, each once (U,); empty if it cannot be split by users.
        counted: number of users in the value, if not all count; None if all do.
    """

    name: str
    higher_is_better: bool
    users: Array
    counted: int | None = None

    @property
    @abstractmethod
    def reason(self) -> str | None:
        """Why there is no value (or no interval); None if there is one."""

    @abstractmethod
    def value(self) -> float | None:
        """Return the metric of all rows, None if it is undefined."""

    @abstractmethod
    def under(self, weights: Floats) -> Floats:
        """Return the metric under each row of weights (d, U), as (d,); NaN where a draw leaves it undefined."""

    def by_user(self) -> tuple[Array, Floats] | None:
        """Return users (m,) and each one's value (m,), for tests over users; None if it is not a mean of these."""
        return None


def summary_of(statistic: Statistic, drawn: Floats) -> dict[str, Any]:
    """Return a statistic's value, its 95 % bootstrap interval over users, and why one of them is missing.

    Args:
        statistic: the statistic to summarise.
        drawn: its values under draws of users, as returned by `draws_of`; empty for no interval.

    Returns:
        {"value": float or None, "interval": [low, high] or None, "standard_error": float or None, the standard
        deviation of the draws, "reason": str or None, "users": int or None}.
    """
    value, ends = statistic.value(), percentiles(drawn)
    interval = list(ends) if value is not None and np.isfinite(ends).all() else None
    error = float(np.nanstd(drawn)) if interval else None
    return {
        "value": value,
        "interval": interval,
        "standard_error": error,
        "reason": statistic.reason or ("one user alone gives no interval" if _behind(statistic) == 1 else None),
        "users": statistic.counted,
    }


def draws_of(statistics: Sequence[Statistic], users: Array, draws: int, seed: int) -> list[Floats]:
    """Return each statistic's values (draws,), all from the same draws; NaN where one is undefined.

    A statistic of one user has no draws: they would all be equal and suggest that its value is certain.

    Raises:
        ValueError: a statistic has a user that is not among `users`.
    """
    everyone = np.unique(users)
    columns = []
    for statistic in statistics:
        if not np.isin(statistic.users, everyone).all():
            raise ValueError(f"{statistic.name} has rows of users that are not drawn from")
        columns.append(np.searchsorted(everyone, statistic.users))
    result = [np.full(draws, np.nan) for _ in statistics]
    for part, weights in _weights(len(everyone), draws, seed):
        for drawn, statistic, column in zip(result, statistics, columns, strict=True):
            if _behind(statistic) < _FEWEST:
                continue
            # If a statistic has all users, as most do, its columns are all columns, in order.
            drawn[part] = statistic.under(weights if len(column) == len(everyone) else weights[:, column])
    return result


def _behind(statistic: Statistic) -> int:
    """Return the number of users in a statistic's value."""
    return len(statistic.users) if statistic.counted is None else statistic.counted


def percentiles(drawn: Floats) -> tuple[float, float]:
    """Return the ends of the 95 % interval over the draws where the statistic exists; NaN where none does."""
    defined = drawn[~np.isnan(drawn)]
    if len(defined) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)


def _weights(users: int, draws: int, seed: int) -> Iterator[tuple[slice, Floats]]:
    """Yield which draws, and how often each takes each user (d, users); splitting into parts does not change them."""
    if users == 0:
        return
    random = np.random.default_rng(seed)
    at_once = max(1, ELEMENTS_AT_ONCE // users)
    shares = np.full(users, 1 / users)
    for start in range(0, draws, at_once):
        stop = min(draws, start + at_once)
        yield slice(start, stop), random.multinomial(users, shares, size=stop - start).astype(np.float64)
