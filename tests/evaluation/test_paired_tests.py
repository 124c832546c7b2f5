"""Tests over users against values worked out by hand, by enumeration, and by an integral of Student's density."""

import math
from itertools import product

import numpy as np
import pytest

from recsys_lora.evaluation.paired_tests import holm, paired_t, user_differences, wilcoxon
from recsys_lora.evaluation.statistics import AUC, UAUC


def student_two_sided(t: float, freedom: int) -> float:
    """Return 2 P(T > |t|) by the trapezoidal rule over Student's density."""
    x = np.linspace(0.0, abs(t), 200_001)
    constant = math.gamma((freedom + 1) / 2) / (math.sqrt(freedom * math.pi) * math.gamma(freedom / 2))
    return 1.0 - 2.0 * float(np.trapezoid(constant * (1 + x**2 / freedom) ** (-(freedom + 1) / 2), x))


def signed_ranks_two_sided(differences: list[float]) -> tuple[float, float]:
    """Return the smaller sum of ranks and its exact two-sided p, over all 2^n signs."""
    order = sorted(range(len(differences)), key=lambda place: abs(differences[place]))
    ranks = {place: rank for rank, place in enumerate(order, 1)}
    total = sum(ranks.values())

    def smaller(signs):
        positive = sum(ranks[place] for place, sign in enumerate(signs) if sign > 0)
        return min(positive, total - positive)

    found = smaller([math.copysign(1, value) for value in differences])
    every = [smaller(signs) for signs in product((-1, 1), repeat=len(differences))]
    return found, sum(value <= found for value in every) / len(every)


def test_users_with_one_class_have_no_difference():
    user = np.array([1, 1, 2, 2, 3, 3, 3])
    label = np.array([0, 1, 1, 1, 0, 1, 1])
    first = np.array([0.1, 0.2, 0.0, 0.0, 0.5, 0.6, 0.4])  # AUC 1, -, 1/2
    second = np.array([0.2, 0.1, 0.0, 0.0, 0.1, 0.2, 0.3])  # AUC 0, -, 1
    assert differences(user, label, first, second) == [1.0, -0.5]


def differences(user, label, first, second):
    return user_differences(*(UAUC("uauc", user, label, score) for score in (first, second))).tolist()


def test_metrics_that_are_no_means_over_the_same_users_are_refused():
    user, label, score = np.array([1, 1, 2, 2]), np.array([0, 1, 0, 1]), np.arange(4.0)
    with pytest.raises(ValueError, match="no means over the same users"):
        user_differences(AUC("auc", user, label, score), AUC("auc", user, label, score))
    with pytest.raises(ValueError, match="no means over the same users"):
        user_differences(UAUC("uauc", user, label, score), UAUC("uauc", user + 1, label, score))


def test_differences_that_are_equal_in_fractions_are_equal():
    # user 1: 2/3 - 1/3, user 2: 1/3 - 0: both a third
    user, label = np.repeat([1, 2], 4), np.array([1, 0, 0, 0] * 2)
    first = np.array([2.5, 1, 2, 3, 1.5, 1, 2, 3])
    second = np.array([1.5, 1, 2, 3, 0.5, 1, 2, 3])
    assert len(set(differences(user, label, first, second))) == 1


def test_t_by_hand():
    # mean 2, variance 2.5, n 5: t = 2 / sqrt(2.5 / 5) = 2.8284
    found = paired_t(np.array([0.0, 1.0, 2.0, 3.0, 4.0]))
    assert found.statistic == pytest.approx(2 * math.sqrt(2))
    assert found.p == pytest.approx(student_two_sided(2 * math.sqrt(2), 4), abs=1e-8)
    assert paired_t(-np.array([0.0, 1.0, 2.0, 3.0, 4.0])).p == pytest.approx(found.p)


@pytest.mark.parametrize("differences", [[1.0, 2.0, 3.0, -0.5, 4.0], [0.3, -0.1, 0.2, -0.6, 0.5, 0.7, 0.8]])
def test_signed_ranks_by_enumeration(differences):
    statistic, p = signed_ranks_two_sided(differences)
    found = wilcoxon(np.array([*differences, 0.0, 0.0]))  # zeros are left out
    assert (found.statistic, found.p) == (statistic, pytest.approx(p))


def test_signed_ranks_with_ties_are_normal_with_their_variance():
    # |d| = 1, 1, 2, 2: ranks 1.5, 1.5, 3.5, 3.5; the negative one has 1.5; mean 5,
    # variance 4 * 5 * 9 / 24 - 2 * (2^3 - 2) / 48 = 7.25
    found = wilcoxon(np.array([1.0, -1.0, 2.0, 2.0]))
    assert found.statistic == 1.5
    assert found.p == pytest.approx(math.erfc(abs(1.5 - 5) / math.sqrt(7.25) / math.sqrt(2)))


@pytest.mark.parametrize("test", [paired_t, wilcoxon])
def test_what_cannot_be_tested_says_why(test):
    assert (test(np.array([0.1])).p, test(np.array([0.1])).reason) == (
        None,
        "fewer than two users have a value of their own",
    )
    assert test(np.zeros(5)).reason == "no user's value differs"


def test_a_difference_without_spread_has_no_t():
    assert paired_t(np.full(5, 0.25)).reason == "the difference is the same for every user"


@pytest.mark.parametrize(
    ("p_values", "corrected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # 4x.005, 3x.01, 2x.03, then .04 held at .06
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.02, None, 0.04], [0.04, None, 0.04]),  # what is undefined counts for nothing
        ([None], [None]),
        ([], []),
    ],
)
def test_holm_by_hand(p_values, corrected):
    assert holm(p_values) == pytest.approx(corrected)
