"""Splits against loops that follow the written rule row by row."""

from collections import defaultdict
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_lora.data.split import (
    AmazonBookBenchmark,
    GlobalTime,
    LeaveLastOut,
    MovieLensBenchmark,
    UserTime,
    natural_order,
)
from tests.data.conftest import random_rows, raw_tables

DAY = 86_400


def columns(arranged):
    return list(arranged.interactions.select("user_id", "item_id", "timestamp", "split").iter_rows())


def by_user(rows):
    """Walk users by number, each user's rows by time, item number, line."""
    users = defaultdict(list)
    for line, (user, item, rating, when) in enumerate(rows):
        users[int(user)].append((when, int(item), line, rating))
    return {user: sorted(users[user]) for user in sorted(users)}


def test_ids_of_digits_sort_as_numbers_of_any_length_before_words():
    ids = ["b", "10", "9", "A1", "123456789012345678901234567890", "007", "7"]
    table = pl.DataFrame({"id": ids}).sort(natural_order("id"))
    assert table["id"].to_list() == ["007", "7", "9", "10", "123456789012345678901234567890", "A1", "b"]


@pytest.mark.parametrize("seed", range(3))
def test_user_time_takes_each_users_first_shares(seed):
    rows = random_rows(seed)
    expected = []
    for user, mine in by_user(rows).items():
        for k, (when, item, _, _) in enumerate(mine):
            split = "train" if 10 * k < 8 * len(mine) else "valid" if 10 * k < 9 * len(mine) else "test"
            expected.append((str(user), str(item), when, split))
    assert columns(UserTime().arrange(raw_tables(rows))) == expected


@given(count=st.integers(1, 400))
def test_shares_are_exact(count):
    rows = [("1", str(i), 5.0, i) for i in range(count)]
    parts = UserTime(0.8, 0.1).arrange(raw_tables(rows)).interactions["split"]
    assert (parts == "train").sum() == -(-8 * count // 10)
    assert (parts == "test").sum() == count - -(-9 * count // 10)


@pytest.mark.parametrize("seed", range(3))
def test_global_time_cuts_all_rows_at_two_ranks(seed):
    rows = random_rows(seed)
    ranked = sorted((when, user, item, line) for user, mine in by_user(rows).items() for when, item, line, _ in mine)
    part = {
        line: "train" if 10 * k < 8 * len(rows) else "valid" if 10 * k < 9 * len(rows) else "test"
        for k, (*_, line) in enumerate(ranked)
    }
    expected = [
        (str(user), str(item), when, part[line]) for user, mine in by_user(rows).items() for when, item, line, _ in mine
    ]
    assert columns(GlobalTime().arrange(raw_tables(rows))) == expected


def test_leave_last_out_spares_users_with_few_rows():
    rows = [("1", "5", 4.0, 3), ("1", "6", 4.0, 1), ("1", "7", 4.0, 2), ("2", "5", 4.0, 1), ("2", "6", 4.0, 2)]
    assert columns(LeaveLastOut().arrange(raw_tables(rows))) == [
        ("1", "6", 1, "train"),
        ("1", "7", 2, "valid"),
        ("1", "5", 3, "test"),
        ("2", "5", 1, "train"),
        ("2", "6", 2, "train"),
    ]


def test_numbers_follow_ascending_users_and_first_appearing_items():
    rows = [("10", "b", 4.0, 1), ("9", "c", 4.0, 2), ("9", "a", 4.0, 1), ("x", "a", 4.0, 0)]
    arranged = UserTime().arrange(raw_tables(rows))
    assert arranged.user_ids.to_list() == ["9", "10", "x"]
    assert arranged.item_ids.to_list() == ["a", "c", "b"]


def test_the_order_of_the_file_changes_nothing_but_exact_ties():
    rows = list(dict.fromkeys((u, i, 3.0, t) for u, i, _, t in random_rows(5)))
    forward, backward = (UserTime().arrange(raw_tables(r)) for r in (rows, rows[::-1]))
    assert forward.interactions.equals(backward.interactions)
    assert forward.item_ids.equals(backward.item_ids)


def month(when):
    date = datetime.fromtimestamp(when, UTC)
    return (date.year - 2000) * 12 + date.month - 4


@pytest.mark.parametrize("seed", range(3))
def test_the_movielens_benchmark_follows_its_rule(seed):
    start = int(datetime(2001, 4, 1, tzinfo=UTC).timestamp())
    rows = [(u, i, r, start + t * 20) for u, i, r, t in random_rows(seed)]
    first_line = {}
    for line, (_, item, _, _) in enumerate(rows):
        first_line.setdefault(item, line)
    ordered = sorted(range(len(rows)), key=lambda line: (first_line[rows[line][1]], line))
    ordered = [line for line in ordered if 14 <= month(rows[line][3]) <= 33]
    ordered.sort(key=lambda line: (int(rows[line][0]), rows[line][3]))
    expected = []
    for line in ordered:
        user, item, _, when = rows[line]
        split = "train" if month(when) <= 23 else "valid" if month(when) <= 28 else "test"
        expected.append((user, item, when, split))
    arranged = MovieLensBenchmark().arrange(raw_tables(rows))
    assert columns(arranged) == expected
    assert {split for *_, split in expected} == {"train", "valid", "test"}
    assert arranged.dropped[0].rows == len(rows) - len(expected) > 0


def amazon_rows():
    """22 users with 22 rows each of 2017 on 22 items; item b0 and user few have too few; one row is of 2016."""
    start = int(datetime(2017, 11, 25, tzinfo=UTC).timestamp())
    rows = [(f"u{u}", f"b{i}", 5.0, start + (u + i) % 30 * DAY) for u in range(22) for i in range(1, 23)]
    rows += [("u0", "b0", 5.0, start), ("few", "b1", 5.0, start)]
    return [*rows, ("u1", "b1", 5.0, start - 365 * DAY)]


def test_the_amazon_book_benchmark_follows_its_rule():
    rows = amazon_rows()
    titles = {f"b{i}": f"Book {i}" for i in range(22, -1, -1)}  # the meta file's order is not the reviews' order
    arranged = AmazonBookBenchmark().arrange(raw_tables(rows, titles))
    place = {item: index for index, item in enumerate(titles)}
    ordered = sorted((line for line in range(len(rows) - 3)), key=lambda line: (place[rows[line][1]], line))
    users = list(dict.fromkeys(rows[line][0] for line in ordered))
    december = [line for line in ordered if datetime.fromtimestamp(rows[line][3], UTC).month == 12]
    december.sort(key=lambda line: rows[line][3])
    valid = set(december[: len(december) // 2])
    part = {line: "train" if line not in december else "valid" if line in valid else "test" for line in ordered}
    walked = sorted(ordered, key=lambda line: (users.index(rows[line][0]), rows[line][3]))
    assert columns(arranged) == [(rows[k][0], rows[k][1], rows[k][3], part[k]) for k in walked]
    assert arranged.user_ids.to_list() == users
    assert arranged.item_ids.to_list() == [f"b{i}" for i in range(22, 0, -1)]
    assert [drop.rows for drop in arranged.dropped] == [1, 2]


def test_the_amazon_book_benchmark_counts_once():
    """A user falls below the count only after the item filter: one pass keeps the user's other rows."""
    start = int(datetime(2017, 3, 1, tzinfo=UTC).timestamp())
    rows = [(f"u{u}", f"b{i}", 5.0, start) for u in range(3) for i in range(3)]
    rows += [("v", "b0", 5.0, start), ("v", "b1", 5.0, start), ("v", "rare", 5.0, start)]
    arranged = AmazonBookBenchmark(more_than=2).arrange(raw_tables(rows))
    assert arranged.interactions.filter(user_id="v")["item_id"].to_list() == ["b0", "b1"]


@pytest.mark.parametrize(
    "split", [UserTime(), GlobalTime(), LeaveLastOut(), MovieLensBenchmark(), AmazonBookBenchmark()]
)
def test_identities_tell_rules_apart(split):
    others = [
        UserTime(0.7),
        GlobalTime(),
        LeaveLastOut(2),
        MovieLensBenchmark(train=[13, 23]),
        AmazonBookBenchmark(2016),
    ]
    assert all(split.identity() != other.identity() for other in others if split != other)
