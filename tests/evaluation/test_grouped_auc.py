"""AUC of groups against a loop over pairs: ties, scores that differ in their last bits only, keys without room."""

import numpy as np
import pytest

from recsys_lora.evaluation.grouped_auc import _codes, grouped_auc, numbered


def by_pairs(group, positive, score):
    """Return {group: AUC}: the share of pairs of a positive and a negative row that stand right, ties a half."""
    found = {}
    for number in np.unique(group):
        pos, neg = (score[(group == number) & (positive == side)] for side in (True, False))
        if len(pos) and len(neg):
            wins = [float(p > n) + 0.5 * float(p == n) for p in pos for n in neg]
            found[int(number)] = sum(wins) / len(wins)
    return found


def agree(group, positive, score):
    found, values = grouped_auc(group, positive, score)
    assert dict(zip(found.tolist(), values.tolist(), strict=True)) == by_pairs(group, positive, score)


def rows(seed, n=400, groups=9):
    random = np.random.default_rng(seed)
    return random.integers(0, groups, n), random.random(n) < 0.4, random


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble, np.int8, np.int64, np.uint64])
@pytest.mark.parametrize("levels", [1, 3, 1000])
def test_every_kind_of_score_is_ranked_as_it_is(dtype, levels):
    group, positive, random = rows(levels)
    low = 0 if dtype == np.uint64 else -levels
    agree(group, positive, random.integers(low, levels, len(group)).clip(low, 120).astype(dtype))


@pytest.mark.parametrize("spread", [1e-300, 1.0, 1e300])
def test_neighbouring_floats_stay_apart_and_equal_ones_together(spread):
    """Scores one unit in the last place apart, beside others far away, and so many groups that a key is too short."""
    group, positive, random = rows(0)
    group[0] = 2**23
    near = np.array([1.0, np.nextafter(1.0, 2), np.nextafter(1.0, 0)])
    score = random.choice(np.concatenate([near, -near, [-spread, spread]]), len(group))
    codes, bits = _codes(score, 40)
    assert bits <= 40
    np.testing.assert_array_equal(np.sign(np.subtract.outer(score, score)), _order(codes))
    agree(group, positive, score)


def _order(codes):
    return np.sign(np.subtract.outer(codes.astype(np.int64), codes.astype(np.int64)))


@pytest.mark.parametrize("room", [12, 20, 33, 46, 63])
@pytest.mark.parametrize("kind", ["few", "float32", "normal"])
def test_codes_lie_and_tie_as_the_scores_in_any_room(room, kind):
    score = np.random.default_rng(1).normal(size=300)
    score = {"few": score.round(1), "float32": score.astype(np.float32).astype(float), "normal": score}[kind]
    codes, bits = _codes(score, room)
    assert int(codes.max()) < 2**bits <= 2**room
    np.testing.assert_array_equal(_order(codes), np.sign(np.subtract.outer(score, score)))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_both_zeros_tie_and_infinities_and_the_smallest_numbers_are_scores(dtype):
    tiny, huge = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    group, positive, random = rows(2)
    agree(group, positive, random.choice(np.array([0.0, -0.0], dtype=dtype), len(group)))
    every = np.array([-np.inf, -huge, -1, -tiny, -0.0, 0.0, tiny, 1, huge, np.inf], dtype=dtype)
    agree(group, positive, random.choice(every, len(group)))


def test_groups_of_one_class_or_without_rows_are_left_out():
    group, positive = np.array([5, 5, 2, 2, 0, 8]), np.array([True, False, True, True, False, True])
    found, values = grouped_auc(group, positive, np.arange(6.0))
    assert found.tolist() == [5]
    assert values.tolist() == [0.0]
    for side in (True, False):
        assert grouped_auc(group, np.full(6, side), np.arange(6.0))[0].tolist() == []
    assert grouped_auc(group[:0], positive[:0], np.zeros(0))[1].tolist() == []


def test_the_first_positive_row_of_a_group_is_not_taken_for_tied_with_the_group_before():
    # The keys of the last negative row of group 0 and of the first positive one of group 1 are neighbours.
    agree(np.array([0, 0, 1, 1]), np.array([True, False, True, False]), np.array([0.0, 1.0, 0.0, 1.0]))


@pytest.mark.parametrize(
    "values",
    [
        np.array([7, 3, 7, 5]),
        np.array([-(2**63), 2**63 - 1, 0]),
        np.array([2**64 - 1, 2**64 - 2], dtype=np.uint64),
        np.array([250, 255], dtype=np.uint8),
        np.array(["b", "a", "b"]),
        np.zeros(0, dtype=np.int64),
    ],
    ids=["close", "far", "large", "bytes", "names", "none"],
)
def test_values_are_numbered_in_their_order(values):
    names, number = numbered(values)
    assert names.dtype == values.dtype
    assert names[number].tolist() == values.tolist()
    assert names.tolist() == sorted(names.tolist())
    assert number.dtype == np.int64
