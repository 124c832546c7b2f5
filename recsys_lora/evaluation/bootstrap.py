"""How sure is a metric: a bootstrap over users.

A user's rows depend on each other, so users are drawn, not rows: with replacement, as many as there are. A draw is a
vector of counts over users, under which a statistic knows its value. Statistics on the same users get the same draws,
so their difference is paired.
Source of the method: Efron and Tibshirani, An Introduction to the Bootstrap, 1993 (percentile intervals).
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float64]
LEVEL = 0.95
ELEMENTS_AT_ONCE = 4_000_000
"""Weights held at once (32 MB); more draws are done in parts."""


class Interval(NamedTuple):
    """A value and its percentile interval; NaN where undefined."""

    value: float
    low: float
    high: float


class Statistic(Protocol):
    """A metric of scored rows that can be computed again under weights of users.

    Attributes:
        name: what tables call it.
        higher_is_better: which direction is an improvement.
        users: the users behind its rows, ascending, each once (U,); empty where it cannot be split by users.
    """

    name: str
    higher_is_better: bool
    users: Array

    @property
    def reason(self) -> str | None:
        """Why there is no value (or no interval); None where there is."""
        ...

    def value(self) -> float | None:
        """Return the metric of all rows, None where it is undefined."""
        ...

    def under(self, weights: Floats) -> Floats:
        """Return the metric under each row of weights (d, U), as (d,); NaN where a draw leaves it undefined."""
        ...


def summarise(statistics: Sequence[Statistic], user: Array, draws: int, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Return each statistic's value, its 95 % bootstrap interval over users, and why one of them is missing.

    Args:
        statistics: of rows whose users are all among `user`.
        user: the users to draw from, repeated or not: those of all rows asked.
        draws: how many; 0 leaves intervals out.
        seed: decides the draws.

    Returns:
        name -> {"value": float or None, "interval": [low, high] or None, "reason": str or None}.
    """
    drawn = draws_of(statistics, user, draws, seed)
    result: dict[str, dict[str, Any]] = {}
    for statistic, values in zip(statistics, drawn, strict=True):
        value = statistic.value()
        ends = percentiles(values)
        interval = list(ends) if value is not None and np.isfinite(ends).all() else None
        result[statistic.name] = {"value": value, "interval": interval, "reason": statistic.reason}
    return result


def paired(first: Statistic, second: Statistic, users: Array, draws: int, seed: int = 0) -> Interval:
    """Return first - second with its 95 % bootstrap interval over users, both from the same draws.

    Args:
        first: a statistic of one model's predictions.
        second: the same of the other's, on the same rows.
        users: the users to draw from, repeated or not.
        draws: how many.
        seed: decides the draws.

    Returns:
        The difference and its interval; NaN where undefined.

    Raises:
        ValueError: the two are not about the same users.
    """
    if not np.array_equal(first.users, second.users):
        raise ValueError(f"a paired difference of {first.name} and {second.name} needs rows of the same users")
    one, other = draws_of([first, second], users, draws, seed)
    values = [float("nan") if (value := s.value()) is None else value for s in (first, second)]
    return Interval(values[0] - values[1], *percentiles(one - other))


def draws_of(statistics: Sequence[Statistic], users: Array, draws: int, seed: int) -> list[Floats]:
    """Return each statistic of each draw, (draws,) each, all from the same draws; NaN where one is undefined.

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
            # Where a statistic has all users, as most do, its columns are all, in order.
            drawn[part] = statistic.under(weights if len(column) == len(everyone) else weights[:, column])
    return result


def percentiles(drawn: Floats) -> tuple[float, float]:
    """Return the ends of the 95 % interval over the draws where the statistic exists; NaN where none does."""
    defined = drawn[~np.isnan(drawn)]
    if len(defined) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _weights(users: int, draws: int, seed: int) -> Iterator[tuple[slice, Floats]]:
    """Yield which draws, and how often each takes each user, (d, users); the parts do not change the draws."""
    if users == 0:
        return
    random = np.random.default_rng(seed)
    at_once = max(1, ELEMENTS_AT_ONCE // users)
    shares = np.full(users, 1 / users)
    for start in range(0, draws, at_once):
        stop = min(draws, start + at_once)
        yield slice(start, stop), random.multinomial(users, shares, size=stop - start).astype(np.float64)
