"""Histories against a walk with Python lists."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_lora.data.history import build_histories


@given(seed=st.integers(0, 10_000), rows=st.integers(0, 60), k=st.integers(0, 6))
def test_histories_equal_a_walk_over_lists(seed, rows, k):
    rng = np.random.default_rng(seed)
    user = np.sort(rng.integers(1, 6, rows))
    item, positive = rng.integers(1, 9, rows), rng.random(rows) < 0.5
    history, position = build_histories(user, item, positive, num_users=5)
    lists: dict[int, list[int]] = {u: [] for u in range(6)}
    expected = np.zeros((rows, k), dtype=np.int64)
    for row in range(rows):
        mine = lists[int(user[row])]
        assert position[row] == len(mine)
        last = mine[max(0, len(mine) - k) :]
        expected[row, k - len(last) :] = last
        if positive[row]:
            mine.append(int(item[row]))
    np.testing.assert_array_equal(history.last(user, position, k), expected)
    for u, mine in lists.items():
        assert history.items[history.offsets[u] : history.offsets[u + 1]].tolist() == mine


def test_users_without_positives_have_only_padding():
    history, position = build_histories(np.array([1, 2]), np.array([3, 4]), np.array([False, False]), num_users=2)
    assert history.last(np.array([1, 2, 0]), np.array([0, 0, 0]), 2).tolist() == [[0, 0]] * 3
    assert position.tolist() == [0, 0]


def test_rows_out_of_their_users_order_are_refused():
    with pytest.raises(ValueError, match="order of their users"):
        build_histories(np.array([2, 1]), np.array([1, 1]), np.array([True, True]), num_users=2)
