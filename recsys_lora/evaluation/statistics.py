"""Metrics of rows that can be computed under any weights of users, as the bootstrap needs (`bootstrap.py`).

With weights w of users, and so w[user] of rows,

    mean_w = sum_i w_i x_i / sum_i w_i        AUC_w = sum over ties t of W+_t * (W-_below_t + W-_t / 2)  /  (W+ * W-)

are sums over arrays: the rows are sorted by score once, and nothing is copied or sorted again for a draw.
"""

import numpy as np

from recsys_lora.evaluation.bootstrap import ELEMENTS_AT_ONCE, Floats, Statistic
from recsys_lora.evaluation.ranking import Array, auc, checked, user_auc

__all__ = ["AUC", "UAUC", "Mean", "RootMean", "ScalarMetric", "Statistic"]
_NO_ROWS = "no rows"


class Mean(Statistic):
    """The mean of one number per row.

    Args:
        name: its name in tables.
        user: each row's user (n,).
        values: each row's number (n,).
        higher_is_better: false for errors.

    Raises:
        ValueError: the lengths differ or a value is NaN.
    """

    def __init__(self, name: str, user: Array, values: Array, higher_is_better: bool = True) -> None:
        values = np.asarray(values, dtype=np.float64)
        if values.ndim != 1 or np.shape(user) != values.shape:
            raise ValueError(f"{name}: user has shape {np.shape(user)}, values {values.shape}: both must be (n,)")
        if np.isnan(values).any():
            raise ValueError(f"{name}: {int(np.isnan(values).sum())} of {len(values)} values are NaN")
        self.name = name
        self.higher_is_better = higher_is_better
        self.users, column = np.unique(user, return_inverse=True)
        self._mean = float(values.mean()) if len(values) else float("nan")
        self._sums = _by_user(column, len(self.users), values)  # (U,)
        self._rows = _by_user(column, len(self.users))

    @property
    def reason(self) -> str | None:
        """Why there is no value."""
        if not len(self.users):
            return _NO_ROWS
        return None if np.isfinite(self._mean) else "a row's value is infinite"

    def value(self) -> float | None:
        """Return the mean over rows."""
        return _number(self._mean)

    def under(self, weights: Floats) -> Floats:
        """Return the weighted mean under each row of weights (d, U)."""
        if not np.isfinite(self._mean):
            return np.full(len(weights), np.nan)
        return _ratio(weights @ self._sums, weights @ self._rows)

    def by_user(self) -> tuple[Array, Floats] | None:
        """Return the users (U,), ascending, and each one's own mean (U,)."""
        return self.users, self._sums / self._rows


class RootMean(Mean):
    """The root of the mean of one number per row, e.g. RMSE of squared errors. Arguments and errors as for `Mean`."""

    def __init__(self, name: str, user: Array, squares: Array) -> None:
        super().__init__(name, user, squares, higher_is_better=False)

    def value(self) -> float | None:
        """Return the root of the mean over rows."""
        mean = super().value()
        return None if mean is None else float(np.sqrt(mean))

    def under(self, weights: Floats) -> Floats:
        """Return the root of the weighted mean under each row of weights (d, U)."""
        return np.sqrt(super().under(weights))

    def by_user(self) -> None:
        """Return None: a root of a mean is not a mean over users."""


class AUC(Statistic):
    """The area under the ROC curve over all rows.

    Args:
        name: its name in tables.
        user: each row's user (n,).
        label: (n,) 0 or 1.
        score: (n,).

    Raises:
        ValueError: the lengths differ, a label is neither 0 nor 1, or a score is NaN.
    """

    higher_is_better = True

    def __init__(self, name: str, user: Array, label: Array, score: Array) -> None:
        positive, score = checked(label, score)
        self.name = name
        self.users, column = np.unique(user, return_inverse=True)
        self._auc = auc(label, score)
        self._positives = int(positive.sum())
        order = np.argsort(score, kind="stable")
        self._column = column[order]
        self._positive = positive[order].astype(np.float64)
        score = score[order]
        self._tie_start = np.flatnonzero(np.r_[True, score[1:] != score[:-1]]) if len(score) else np.zeros(0, np.int64)

    @property
    def reason(self) -> str | None:
        """Why there is no value."""
        rows = len(self._positive)
        if self.value() is not None:
            return None
        return f"one class only: {self._positives} of {rows} rows are positive" if rows else _NO_ROWS

    def value(self) -> float | None:
        """Return the AUC of all rows."""
        return _number(self._auc)

    def under(self, weights: Floats) -> Floats:
        """Return the AUC under each row of weights (d, U)."""
        if not len(self._column):
            return np.full(len(weights), np.nan)
        at_once = max(1, ELEMENTS_AT_ONCE // len(self._column))
        parts = [self._part(weights[start : start + at_once]) for start in range(0, len(weights), at_once)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _part(self, weights: Floats) -> Floats:
        rows = weights[:, self._column]  # (d, n), by ascending score
        total = np.add.reduceat(rows, self._tie_start, axis=1)  # (d, ties)
        pos = np.add.reduceat(rows * self._positive, self._tie_start, axis=1)
        neg = total - pos
        below = np.cumsum(neg, axis=1) - neg
        wins = (pos * (below + neg / 2)).sum(axis=1)
        return _ratio(wins, pos.sum(axis=1) * neg.sum(axis=1))


class UAUC(Mean):
    """The unweighted mean of the users' own AUC, over users with rows of both classes. Arguments as for `AUC`."""

    def __init__(self, name: str, user: Array, label: Array, score: Array) -> None:
        valid, values = user_auc(user, label, score)
        super().__init__(name, valid, values)
        self.counted = len(valid)
        self.users = np.unique(user)
        has = np.isin(self.users, valid)
        self._rows = has.astype(np.float64)  # (U,)
        self._sums = np.zeros(len(self.users))
        self._sums[has] = values

    @property
    def reason(self) -> str | None:
        """Why there is no value."""
        return "no user has rows of both classes" if len(self.users) and not self.counted else super().reason

    def by_user(self) -> tuple[Array, Floats]:
        """Return the users with rows of both classes, and each one's AUC."""
        has = self._rows > 0
        return self.users[has], self._sums[has]


class ScalarMetric(Statistic):
    """A number that is not a sum over users, such as BLEU of a corpus: it has no interval.

    Args:
        name: its name in tables.
        value: the number, None if it is undefined.
        higher_is_better: which direction is an improvement.
        reason: why there is no value; needed if `value` is None.
    """

    def __init__(
        self, name: str, value: float | None, higher_is_better: bool = True, reason: str | None = None
    ) -> None:
        if value is None and reason is None:
            raise ValueError(f"{name}: no value and no reason")
        self.name = name
        self.higher_is_better = higher_is_better
        self._value = value
        self.users: Array = np.zeros(0, dtype=np.int64)
        self._reason = reason

    @property
    def reason(self) -> str | None:
        """Why there is no value, or no interval."""
        return self._reason or "a number of the whole corpus has no interval over users"

    def value(self) -> float | None:
        """Return the number."""
        return self._value

    def under(self, weights: Floats) -> Floats:
        """Return NaN for each draw."""
        return np.full(len(weights), np.nan)


def _by_user(column: Array, users: int, values: Floats | None = None) -> Floats:
    return np.asarray(np.bincount(column, weights=values, minlength=users), dtype=np.float64)


def _ratio(top: Floats, bottom: Floats) -> Floats:
    result: Floats = np.full(len(top), np.nan)
    return np.divide(top, bottom, out=result, where=bottom > 0)


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
