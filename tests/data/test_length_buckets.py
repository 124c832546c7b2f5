"""Batches cut into groups of like lengths: the cheapest of all cuts, found by trying all."""

from itertools import product

import numpy as np
import pytest

from recsys_lora.data.length_buckets import length_groups


def cost(lengths, groups, forward_overhead_tokens):
    return sum(len(group) * lengths[group].max() + forward_overhead_tokens for group in groups)


def cheapest(lengths, forward_overhead_tokens):
    """Return the least cost over all ways to put the prompts into groups, of any company."""
    ways = product(range(len(lengths)), repeat=len(lengths))
    cuts = ([np.flatnonzero(np.array(way) == number) for number in set(way)] for way in ways)
    return min(cost(lengths, groups, forward_overhead_tokens) for groups in cuts)


@pytest.mark.parametrize("forward_overhead_tokens", [0.0, 3.0, 20.0, 1000.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_other_groups_cost_less(forward_overhead_tokens, seed):
    lengths = np.random.default_rng(seed).integers(1, 40, 5)
    groups = length_groups(lengths, forward_overhead_tokens)
    assert np.sort(np.concatenate(groups)).tolist() == list(range(5))
    assert cost(lengths, groups, forward_overhead_tokens) == cheapest(lengths, forward_overhead_tokens)
    assert all((np.diff(group) > 0).all() for group in groups)
    widths = [lengths[group].max() for group in groups]
    assert widths == sorted(widths, reverse=True)


def test_a_batch_stays_whole_where_that_is_asked_for_or_costs_least():
    lengths = np.array([5, 9, 7])
    assert [group.tolist() for group in length_groups(lengths, None)] == [[0, 1, 2]]
    assert [group.tolist() for group in length_groups(lengths, 7.0)] == [[0, 1, 2]]
    assert [group.tolist() for group in length_groups(lengths[:1], 0.0)] == [[0]]


def test_prompts_of_one_length_stay_together_whatever_a_forward_costs():
    assert [group.tolist() for group in length_groups(np.array([4, 9, 4, 9]), 0.0)] == [[1, 3], [0, 2]]
