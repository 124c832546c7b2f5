"""Duplicates and k-core filters."""

from collections import Counter

import pytest

from recsys_lora.data.filters import drop_duplicates, k_core
from recsys_lora.data.numbering import number_raw
from tests.data.conftest import fill, random_rows


def number(engine, rows):
    number_raw(engine, fill(engine, rows))


def lines(engine):
    return [line for (line,) in engine.rows("SELECT line FROM rows ORDER BY line")]


@pytest.mark.parametrize("least", [(3, 0), (0, 4), (5, 5), (9, 9), (100, 1)])
def test_the_core_equals_peeling_one_row_at_a_time(engine, least):
    rows = random_rows(1, rows=150, users=15, items=20)
    kept = set(range(len(rows)))
    peeled = True
    while peeled:
        users, items = (Counter(rows[k][column] for k in kept) for column in (0, 1))
        bad = [k for k in kept if users[rows[k][0]] < least[0] or items[rows[k][1]] < least[1]]
        peeled = bool(bad)
        kept -= set(bad[:1])
    number(engine, rows)
    dropped = k_core(engine, *least)
    assert lines(engine) == sorted(kept)
    assert dropped.rows == len(rows) - len(kept)


def test_duplicates_by_policy(engine):
    rows = [("1", "1", 5.0, 9), ("1", "2", 4.0, 1), ("1", "1", 5.0, 9), ("1", "1", 2.0, 3)]
    kept = {}
    for policy in ("keep", "exact", "last"):
        number(engine, rows)
        kept[policy] = (drop_duplicates(engine, policy).rows, lines(engine))
    assert kept == {"keep": (0, [0, 1, 2, 3]), "exact": (1, [0, 1, 3]), "last": (2, [1, 2])}


def test_rows_of_different_texts_are_no_copies(engine):
    number(engine, [("1", "1", 5.0, 9)] * 3)
    engine.fill("reviews", {"line": ("BIGINT", [0, 1, 2]), "review": ("VARCHAR", ["a", None, "a"])})
    assert drop_duplicates(engine, "exact", "reviews", ["review"]).rows == 1
    assert lines(engine) == [0, 1]
