"""Splits against loops that follow the written rule row by row."""

from collections import Counter, defaultdict
from datetime import UTC, datetime

import numpy as np
import pytest

from recsys_lora.data.order import digits_first
from recsys_lora.data.split import (
    AmazonBookBenchmark,
    ColdItems,
    GlobalTime,
    LeaveLastOut,
    MovieLensBenchmark,
    UserTime,
)
from recsys_lora.utils.errors import UserError
from tests.data.conftest import random_rows, splitted, tie

DAY = 86_400


def by_user(rows):
    """Walk users by first appearance, each user's rows by time, then in the seeded random order of lines."""
    users = defaultdict(list)
    for line, (user, _, _, when) in enumerate(rows):
        users[user].append((when, *tie(line)))
    return {user: [line for *_, line in sorted(mine)] for user, mine in users.items()}


def test_ids_of_digits_sort_as_numbers_of_any_length_before_words(engine):
    ids = ["b", "10", "9", "A1", "123456789012345678901234567890", "007", "7"]
    engine.fill("ids", {"id": ("VARCHAR", ids)})
    found = [row[0] for row in engine.rows(f"SELECT id FROM ids ORDER BY {digits_first('id')}")]
    assert found == ["007", "7", "9", "10", "123456789012345678901234567890", "A1", "b"]


def part_of(k, count):
    """Ten rows and more are cut at .8 and .9; fewer have their last row in test and the one before it in valid."""
    if count < 3:
        return "train"
    if count < 10:
        return "train" if k < count - 2 else "valid" if k < count - 1 else "test"
    return "train" if 10 * k < 8 * count else "valid" if 10 * k < 9 * count else "test"


@pytest.mark.parametrize("seed", range(3))
def test_user_time_takes_each_users_first_shares(engine, seed):
    rows = random_rows(seed)
    expected = []
    for mine in by_user(rows).values():
        for k, line in enumerate(mine):
            user, item, _, when = rows[line]
            expected.append((user, item, when, part_of(k, len(mine))))
    assert splitted(engine, rows, UserTime()).rows == expected


def rows_of_one_user(engine, count, split):
    rows = [("1", str(i), 5.0, i) for i in range(count)]
    return [part for *_, part in splitted(engine, rows, split).rows]


@pytest.mark.parametrize("count", [*range(1, 23), 40, 99, 100, 101, 395])
def test_shares_of_a_user_are_exact_and_leave_no_part_empty(engine, count):
    assert rows_of_one_user(engine, count, UserTime()) == [part_of(k, count) for k in range(count)]


@pytest.mark.parametrize("count", [*range(1, 12), 15, 99])
def test_shares_of_all_rows_are_exact(engine, count):
    parts = Counter(rows_of_one_user(engine, count, GlobalTime()))
    assert parts["train"] == -(-8 * count // 10)
    assert parts["test"] == count - -(-9 * count // 10)


@pytest.mark.parametrize("split", [UserTime, GlobalTime, ColdItems])
def test_shares_of_many_digits_are_exact_too(engine, split):
    parts = Counter(rows_of_one_user(engine, 600, split(train=0.6666666666666666, valid=0.16666666666666666)))
    assert parts == {"train": 400, "valid": 100, "test": 100}


def test_a_part_without_a_share_gets_no_row(engine):
    assert rows_of_one_user(engine, 4, UserTime(train=0.8, valid=0.0)) == ["train"] * 3 + ["test"]
    assert rows_of_one_user(engine, 4, UserTime(train=0.8, valid=0.2)) == ["train"] * 3 + ["valid"]


@pytest.mark.parametrize("seed", range(3))
def test_global_time_cuts_all_rows_at_two_ranks(engine, seed):
    rows = random_rows(seed)
    ranked = sorted(range(len(rows)), key=lambda line: (rows[line][3], tie(line)))
    part = {
        line: "train" if 10 * k < 8 * len(rows) else "valid" if 10 * k < 9 * len(rows) else "test"
        for k, line in enumerate(ranked)
    }
    walked = [line for mine in by_user(rows).values() for line in mine]
    expected = [(rows[line][0], rows[line][1], rows[line][3], part[line]) for line in walked]
    assert splitted(engine, rows, GlobalTime()).rows == expected


def test_leave_last_out_spares_users_with_few_rows(engine):
    rows = [("1", "5", 4.0, 3), ("1", "6", 4.0, 1), ("1", "7", 4.0, 2), ("2", "5", 4.0, 1), ("2", "6", 4.0, 2)]
    assert splitted(engine, rows, LeaveLastOut()).rows == [
        ("1", "6", 1, "train"),
        ("1", "7", 2, "valid"),
        ("1", "5", 3, "test"),
        ("2", "5", 1, "train"),
        ("2", "6", 2, "train"),
    ]


@pytest.mark.parametrize("seed", range(3))
def test_cold_items_are_held_out_whole(engine, seed):
    rows = random_rows(seed)
    found = splitted(engine, rows, ColdItems(0.7, 0.2, seed=seed)).rows
    parts = defaultdict(set)
    for _, item, _, part in found:
        parts[item].add(part)
    counts = Counter(part for [part] in parts.values())
    assert counts["train"] == -(-7 * len(parts) // 10)
    assert counts["test"] == len(parts) - -(-9 * len(parts) // 10)
    order = {"train": 0, "valid": 1, "test": 2}
    walked = [line for mine in by_user(rows).values() for line in mine]
    if seed == 0:  # the order of ties has the seed 0
        expected = sorted(
            [(*rows[line][:2], rows[line][3], *parts[rows[line][1]]) for line in walked],
            key=lambda row: ([row[0] for row in rows].index(row[0]), order[row[3]]),
        )
        assert found == expected


def test_other_seeds_hold_out_other_items(engine):
    rows = random_rows(0)
    tested = {
        tuple(sorted({item for _, item, _, part in splitted(engine, rows, ColdItems(seed=s)).rows if part == "test"}))
        for s in range(5)
    }
    assert len(tested) == 5


def test_numbers_follow_first_appearances(engine):
    rows = [("10", "b", 4.0, 1), ("9", "c", 4.0, 2), ("9", "a", 4.0, 1), ("x", "a", 4.0, 0)]
    found = splitted(engine, rows, UserTime())
    assert (found.users, found.items) == (["10", "9", "x"], ["b", "a", "c"])


@pytest.mark.parametrize("ties", ["random", "file"])
@pytest.mark.parametrize("split", [UserTime, GlobalTime, LeaveLastOut, ColdItems])
def test_renaming_ids_changes_nothing(engine, split, ties):
    rows = random_rows(6, days=5)
    names = {name: f"{(int(name) * 7919) % 1009:x}" for name in {row[k] for row in rows for k in (0, 1)}}
    renamed = [(names[user], names[item], rating, when) for user, item, rating, when in rows]
    first, second = (splitted(engine, table, split(ties=ties)) for table in (rows, renamed))
    assert second.rows == [(names[user], names[item], when, part) for user, item, when, part in first.rows]
    assert second.users == [names[user] for user in first.users]
    assert second.items == [names[item] for item in first.items]


def test_ties_follow_the_file_by_choice(engine):
    rows = [("u", str(item), 4.0, 0) for item in (5, 3, 9, 1)]
    assert [item for _, item, *_ in splitted(engine, rows, LeaveLastOut(ties="file")).rows] == ["5", "3", "9", "1"]
    orders = {tuple(item for _, item, *_ in splitted(engine, rows, LeaveLastOut(seed=s)).rows) for s in range(9)}
    assert len(orders) > 3


def test_a_file_sorted_by_item_does_not_decide_which_item_is_tested(engine):
    """Every item is as likely as any other to be the last of a user whose rows share one time."""
    rows = [(f"u{user}", f"i{item}", 4.0, 0) for item in range(10) for user in range(400)]
    tested = Counter(item for _, item, _, part in splitted(engine, rows, LeaveLastOut()).rows if part == "test")
    assert max(tested.values()) < 70  # 40 on average, standard deviation 6
    assert min(tested.values()) > 15


def month(when):
    date = datetime.fromtimestamp(when, UTC)
    return (date.year - 2000) * 12 + date.month - 4


@pytest.mark.parametrize("seed", range(3))
def test_the_movielens_benchmark_follows_its_rule(engine, seed):
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
    arranged = splitted(engine, rows, MovieLensBenchmark())
    assert arranged.rows == expected
    assert {split for *_, split in expected} == {"train", "valid", "test"}
    assert arranged.dropped[0] == len(rows) - len(expected) > 0


def test_the_amazon_book_benchmark_equals_a_walk_over_many_rows(engine):
    """54,043 made-up reviews of three years, with rows that repeat a user and an item and whole days for times."""
    rng, start = np.random.default_rng(8), int(datetime(2016, 1, 1, tzinfo=UTC).timestamp())
    n, users, items = 54_043, 1_500, 900
    columns = (rng.zipf(1.35, n) % users, rng.zipf(1.25, n) % items, rng.integers(0, 1_000, n))
    rows = [(f"u{u}", f"b{i}", 5.0, start + int(day) * DAY) for u, i, day in zip(*columns, strict=True)]
    place = {f"b{i}": index for index, i in enumerate(rng.permutation(items))}
    arranged = splitted(engine, rows, AmazonBookBenchmark(), dict.fromkeys(place))

    def date(line):
        return datetime.fromtimestamp(rows[line][3], UTC)

    year = [line for line in range(n) if date(line).year == 2017]
    of_user, of_item = (Counter(rows[line][column] for line in year) for column in (0, 1))
    kept = [line for line in year if of_user[rows[line][0]] > 20 and of_item[rows[line][1]] > 20]
    kept.sort(key=lambda line: (place[rows[line][1]], line))
    users, items = (list(dict.fromkeys(rows[line][column] for line in kept)) for column in (0, 1))
    december = sorted((line for line in kept if date(line).month == 12), key=lambda line: rows[line][3])
    part = dict.fromkeys(kept, "train") | dict.fromkeys(december, "test")
    part |= dict.fromkeys(december[: len(december) // 2], "valid")
    number = {user: index for index, user in enumerate(users)}
    walked = sorted(kept, key=lambda line: (number[rows[line][0]], rows[line][3]))
    assert len(kept) > 5_000
    assert Counter(part.values())["valid"] > 100
    assert arranged.rows == [(rows[k][0], rows[k][1], rows[k][3], part[k]) for k in walked]
    assert (arranged.users, arranged.items) == (users, items)
    assert arranged.dropped == [n - len(year), len(year) - len(kept)]


def test_the_amazon_book_benchmark_counts_once(engine):
    """A user falls below the count only after the item filter: one pass keeps the user's other rows."""
    start = int(datetime(2017, 3, 1, tzinfo=UTC).timestamp())
    rows = [(f"u{u}", f"b{i}", 5.0, start) for u in range(3) for i in range(3)]
    rows += [("v", "b0", 5.0, start), ("v", "b1", 5.0, start), ("v", "rare", 5.0, start)]
    arranged = splitted(engine, rows, AmazonBookBenchmark(more_than=2))
    assert [item for user, item, *_ in arranged.rows if user == "v"] == ["b0", "b1"]


@pytest.mark.parametrize("split", [MovieLensBenchmark(), AmazonBookBenchmark()])
def test_the_calendar_splits_need_times(engine, split):
    with pytest.raises(UserError, match="needs timestamps, and the data has none"):
        splitted(engine, random_rows(0), split, timed=False)


@pytest.mark.parametrize(
    "split", [UserTime(), GlobalTime(), LeaveLastOut(), ColdItems(), MovieLensBenchmark(), AmazonBookBenchmark()]
)
def test_identities_tell_rules_apart(split):
    others = [
        UserTime(0.7),
        GlobalTime(),
        LeaveLastOut(2),
        ColdItems(seed=1),
        MovieLensBenchmark(train=[13, 23]),
        AmazonBookBenchmark(2016),
    ]
    assert all(split.identity() != other.identity() for other in others if split != other)
