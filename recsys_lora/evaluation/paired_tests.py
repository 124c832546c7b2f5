"""Do two models differ? Paired tests over users, and the correction for multiple testing.

A user's rows depend on each other, so the sample is the users: each one's own value of a metric (AUC, mean error) under
one model minus that under the other. Sources of the methods: Student, The probable error of a mean, Biometrika 1908;
Wilcoxon, Individual comparisons by ranking methods, Biometrics 1945; Holm, A simple sequentially rejective multiple
test procedure, 1979.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys_lora.evaluation.bootstrap import Floats, Statistic

_TOO_FEW = "fewer than two users have a value of their own"
_ALL_ALIKE = "the difference is the same for every user"
_DIGITS = 12
_ALL_ZERO = "no user's value differs"


@dataclass(frozen=True)
class TestResult:
    """A two-sided test.

    Attributes:
        statistic: its statistic; None if it is undefined.
        p: its p-value; None if it is undefined.
        reason: why it is undefined; None if it is not.
    """

    __test__ = False  # not a pytest class

    statistic: float | None
    p: float | None
    reason: str | None = None


def user_differences(first: Statistic, second: Statistic) -> Floats:
    """Return each user's own value of the first minus that of the second.

    Args:
        first: a mean over users, of one model.
        second: the same of another, on the same rows.

    Returns:
        (m,), by ascending user, rounded so that differences that are exactly equal or zero are so in floats.

    Raises:
        ValueError: they are not means over the same users.
    """
    ours, theirs = first.by_user(), second.by_user()
    if ours is None or theirs is None or not np.array_equal(ours[0], theirs[0]):
        raise ValueError(f"{first.name} and {second.name} are no means over the same users")
    return np.round(ours[1] - theirs[1], _DIGITS)


def paired_t(differences: Floats) -> TestResult:
    """Test whether paired differences (m,) have mean zero: Student's t with m - 1 degrees of freedom, two-sided."""
    from scipy import stats

    if len(differences) < 2:
        return TestResult(None, None, _TOO_FEW)
    if np.ptp(differences) == 0:
        return TestResult(None, None, _ALL_ZERO if differences[0] == 0 else _ALL_ALIKE)
    found = stats.ttest_1samp(differences, 0.0)
    return TestResult(float(found.statistic), float(found.pvalue))


def wilcoxon(differences: Floats) -> TestResult:
    """Test whether paired differences (m,) are symmetric about zero: Wilcoxon's signed ranks, two-sided.

    Differences of zero are left out (Wilcoxon's own rule). The distribution is exact for up to 50 differences without
    ties, else normal with the variance corrected for ties, without continuity correction. The statistic is the
    smaller sum of ranks.
    """
    from scipy import stats

    if len(differences) < 2:
        return TestResult(None, None, _TOO_FEW)
    changed = differences[differences != 0]
    if not len(changed):
        return TestResult(None, None, _ALL_ZERO)
    distinct = len(np.unique(np.abs(changed))) == len(changed)
    method = "exact" if distinct and len(changed) <= 50 else "asymptotic"
    found = stats.wilcoxon(changed, method=method, correction=False)
    return TestResult(float(found.statistic), float(found.pvalue))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values corrected for multiple testing by Holm's step-down procedure.

    With m defined values p(1) <= ... <= p(m), the i-th becomes max over j <= i of min(1, (m - j + 1) p(j)).

    Args:
        p_values: of one family; None for an undefined test, which does not count and stays None.
    """
    asked = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for done, (p, place) in enumerate(asked):
        largest = max(largest, min(1.0, (len(asked) - done) * p))
        corrected[place] = largest
    return corrected
