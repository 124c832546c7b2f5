"""Loading, rows, samples and counts of a prepared data set."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from recsys_lora.data.prepare import prepare
from recsys_lora.data.prepared import PreparedData
from recsys_lora.data.rated import RatedHistory
from recsys_lora.data.readers.movielens import MovieLens1M
from recsys_lora.data.rows import checksum
from recsys_lora.data.split import ColdItems, GlobalTime, LeaveLastOut, MovieLensBenchmark, UserTime
from recsys_lora.utils.errors import UserError
from tests.data.conftest import random_rows


@pytest.fixture
def data(made_reader, tmp_path):
    split = GlobalTime(0.6, 0.2, published_valid=0.5)
    prepare(made_reader(random_rows(3, items=60)), split, name="made", positive=4, out=tmp_path / "out")
    return PreparedData.load(tmp_path / "out")


def test_rows_are_the_tables_rows_of_the_split(data):
    for split in ("train", "valid", "test"):
        rows = data.rows(split)
        table = data.interactions[rows.row]
        assert set(table["split"]) == {split}
        for column in ("user", "item", "label", "rating", "timestamp"):
            assert getattr(rows, column).tolist() == table[column].to_list()
    assert sum(len(data.rows(split)) for split in ("train", "valid", "test")) == 300


def test_seen_means_user_and_item_occur_in_train(data):
    train, test = data.rows("train"), data.rows("test")
    users, items = set(train.user.tolist()), set(train.item.tolist())
    expected = [u in users and i in items for u, i in zip(test.user.tolist(), test.item.tolist(), strict=True)]
    assert test.seen.tolist() == expected
    assert 0 < sum(expected) < len(expected)


def test_train_counts_count_train_rows(data):
    users, items = data.train_counts()
    train = data.rows("train")
    assert users.tolist() == [Counter(train.user.tolist())[u] for u in range(data.num_users + 1)]
    assert items.tolist() == [Counter(train.item.tolist())[i] for i in range(data.num_items + 1)]


def test_samples_are_fixed_by_their_seed_and_keep_order(data):
    every = data.rows("test")
    first, again, other = (data.sample("test", 20, seed) for seed in (1, 1, 2))
    assert first.row.tolist() == again.row.tolist() != other.row.tolist()
    assert len(set(first.row.tolist())) == 20
    assert (np.diff(first.row) > 0).all()
    assert data.sample("test", None, 1).row.tolist() == every.row.tolist()
    assert data.sample("test", 10_000, 1).row.tolist() == every.row.tolist()


def test_the_published_sample_does_not_depend_on_the_seed(data):
    every = data.rows("valid")
    index = np.random.RandomState(2023).choice(len(every), round(0.5 * len(every)), replace=False)
    assert data.sample("valid", "published", seed=7).row.tolist() == every.row[index].tolist()


def test_only_a_published_sample_can_be_asked_for(data, made_reader, tmp_path):
    with pytest.raises(UserError, match="no published test sample"):
        data.sample("test", "published", seed=1)
    split = UserTime()
    other = prepare(made_reader(random_rows(4)), split, name="made", positive=4, out=tmp_path / "other")
    with pytest.raises(UserError, match="user_time has no published valid sample"):
        other.sample("valid", "published", seed=1)


def test_take_by_mask_equals_take_by_index(data):
    rows = data.rows("test")
    mask = rows.label > 0
    by_mask, by_index = rows.take(mask), rows.take(np.flatnonzero(mask))
    assert len(by_mask) == mask.sum()
    assert all(np.array_equal(getattr(by_mask, name), getattr(by_index, name)) for name in ("row", "user", "seen"))


def test_the_checksum_sees_every_column_and_the_order(data):
    rows = data.rows("test")
    spoiled = {checksum(rows, data.history), checksum(rows.take(np.arange(len(rows))[::-1]), data.history)}
    where = int(np.flatnonzero(rows.position > 0)[0])
    swaps = {"user": -1, "item": 1, "label": None, "timestamp": 1, "position": -1}
    for column, step in swaps.items():
        values = getattr(rows, column).copy()
        values[where] = 1 - values[where] if step is None else values[where] + step
        spoiled.add(checksum(replace(rows, **{column: values}), data.history))
    assert len(spoiled) == 7


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "prepare the data first"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "not a JSON file"),
        (lambda folder: (folder / "manifest.json").write_text('{"format": 0}'), "another version"),
        (lambda folder: (folder / "items.parquet").write_bytes(b"PAR1"), "a table cannot be read"),
        (lambda folder: (folder / "interactions.parquet").unlink(), "a table cannot be read"),
    ],
)
def test_a_damaged_folder_is_refused(data, spoil, words):
    spoil(data.folder)
    with pytest.raises(UserError, match=words):
        PreparedData.load(data.folder)


def test_items_can_be_called_by_their_numbers(data):
    numbered = PreparedData.load(data.folder, "index")
    assert numbered.titles == ["", *map(str, range(1, data.num_items + 1))]
    assert numbered.key == data.key
    assert data.titles[1:] == data.items["title"].to_list()


def of_the_past(data):
    """Check row by row that a history is of earlier positives, and that train is the past of valid, and it of test."""
    every, history = data.every, data.history
    order = {"train": 0, "valid": 1, "test": 2}
    part = np.array([order[name] for name in data.interactions["split"]])
    for user in range(1, data.num_users + 1):
        [own] = np.nonzero(every.user == user)
        liked = own[every.label[own] > 0]
        assert history.items[history.offsets[user] : history.offsets[user + 1]].tolist() == every.item[liked].tolist()
        for row in own:
            earlier = liked[: every.position[row]]
            assert row not in earlier
            assert (every.timestamp[earlier] <= every.timestamp[row]).all()
            assert (part[earlier] <= part[row]).all()
    return len(every)


@pytest.mark.parametrize("split", [UserTime(), GlobalTime(0.6, 0.2), LeaveLastOut()], ids=lambda s: type(s).__name__)
def test_histories_are_of_the_past_in_every_split(made_reader, tmp_path, split):
    prepare(made_reader(random_rows(3, items=60)), split, name="made", positive=4, out=tmp_path / "out")
    assert of_the_past(PreparedData.load(tmp_path / "out")) > 100


@pytest.mark.parametrize("history", ["liked", "rated"])
def test_no_history_shows_a_row_of_a_held_out_item(made_reader, tmp_path, history):
    prepare(made_reader(random_rows(3, items=60)), ColdItems(0.6, 0.2), name="made", positive=4, out=tmp_path / "out")
    data = PreparedData.load(tmp_path / "out")
    every, part = data.every, data.interactions["split"].to_numpy()
    counts = (every.label > 0) | (history == "rated")
    rated = RatedHistory(data)
    position = every.position if history == "liked" else rated.position(every)
    shown = (data.history if history == "liked" else rated.items).last(every.user, position, 100)
    for row in range(len(every)):
        others = (every.user == every.user[row]) & counts & (part == "train")
        if part[row] == "train":
            others[row:] = False
        assert shown[row][shown[row] > 0].tolist() == every.item[others].tolist()
    assert {"train", "valid", "test"} == set(part)


@pytest.mark.slow
def test_histories_are_of_the_past_in_the_benchmark(raw_data, tmp_path):
    reader = MovieLens1M(str(raw_data / "ml-1m"))
    prepare(reader, MovieLensBenchmark(), name="ml_1m", positive=4, out=tmp_path / "out")
    assert of_the_past(PreparedData.load(tmp_path / "out")) == 51_623


@pytest.mark.parametrize("share", [0.3, 0.5, 1.0])
def test_parts_of_the_train_rows_are_the_earliest_and_the_rest(data, share):
    train = data.rows("train")
    earliest, rest = (data.with_train_part(share, part) for part in ("earliest", "rest"))
    assert len(earliest.rows("train")) == round(share * len(train))
    both = [*earliest.rows("train").row, *rest.rows("train").row]
    assert sorted(both) == train.row.tolist()
    if len(rest.rows("train")):
        assert earliest.rows("train").timestamp.max() <= rest.rows("train").timestamp.min()
    for part in (earliest, rest):
        assert part.rows("test").row.tolist() == data.rows("test").row.tolist()
        assert part.history is data.history
        assert part.key == data.key
    assert data.rows("train").row.tolist() == train.row.tolist()


def test_some_test_users_keep_all_of_their_rows_and_others_none(data):
    test = data.rows("test")
    users = np.unique(test.user)
    some = data.with_test_users(2, seed=1)
    asked = some.rows("test")
    assert len(np.unique(asked.user)) == 2
    assert asked.row.tolist() == test.row[np.isin(test.user, asked.user)].tolist()
    assert some.rows("train").row.tolist() == data.rows("train").row.tolist()
    assert data.with_test_users(2, seed=1).rows("test").row.tolist() == asked.row.tolist()
    chosen = {tuple(np.unique(data.with_test_users(2, seed).rows("test").user)) for seed in range(20)}
    assert len(chosen) > 1
    assert data.with_test_users(len(users), seed=1) is data
