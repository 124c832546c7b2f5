"""Duplicates and k-core filters."""

from collections import Counter

import pytest

from recsys_lora.data.filters import drop_duplicates, k_core
from tests.data.conftest import random_rows, raw_tables


@pytest.mark.parametrize("least", [(3, 0), (0, 4), (5, 5), (9, 9), (100, 1)])
def test_the_core_equals_peeling_one_row_at_a_time(least):
    rows = random_rows(1, rows=150, users=15, items=20)
    kept = set(range(len(rows)))
    peeled = True
    while peeled:
        users, items = (Counter(rows[k][column] for k in kept) for column in (0, 1))
        bad = [k for k in kept if users[rows[k][0]] < least[0] or items[rows[k][1]] < least[1]]
        peeled = bool(bad)
        kept -= set(bad[:1])
    result = k_core(raw_tables(rows), *least)
    assert result.interactions.rows() == [rows[k] for k in sorted(kept)]
    assert result.dropped[-1].rows == len(rows) - len(kept)


def test_duplicates_by_policy():
    rows = [("1", "1", 5.0, 9), ("1", "2", 4.0, 1), ("1", "1", 5.0, 9), ("1", "1", 2.0, 3)]
    tables = raw_tables(rows)
    assert drop_duplicates(tables, "keep") is tables
    exact, last = drop_duplicates(tables, "exact"), drop_duplicates(tables, "last")
    assert exact.interactions.rows() == [rows[0], rows[1], rows[3]]
    assert last.interactions.rows() == [rows[1], rows[2]]
    assert (exact.dropped[0].rows, last.dropped[0].rows) == (1, 2)
