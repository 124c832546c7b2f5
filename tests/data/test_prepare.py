"""Preparing: what is written, what is refused, what the key depends on."""

import errno
from pathlib import Path

import polars as pl
import pytest

from recsys_lora.data.prepare import drop_records, prepare, prepare_key
from recsys_lora.data.prepared import PreparedData, checksum
from recsys_lora.data.readers.movielens import MovieLens1M
from recsys_lora.data.schema import Dropped, RawTables
from recsys_lora.data.split import LeaveLastOut, MovieLensBenchmark, UserTime
from recsys_lora.errors import UserError
from tests.data.conftest import random_rows, raw_tables

BENCHMARK = {
    "train": "99f71b9fe41d4bab7f9952ef39d8602847b4d35dba81645ffc426a36dada24bd",
    "valid": "287174628abd9685c4483630f594d6d11c4f0c9c013067e6b02f75a7ba50dfb6",
    "test": "81e666aa1687773e71261e1eaa3ce64979dce34f87f62e150625b2eabc1f7ea6",
}
PUBLISHED_VALID = "123fff900c50cc1040cfaf6be6164596a492fc491407a13f22572031f293ec77"


def test_ml_1m_is_the_benchmark_row_for_row(raw_data, tmp_path):
    reader = MovieLens1M(raw_data / "ml-1m")
    made = prepare(reader, MovieLensBenchmark(), name="ml_1m", positive=4, out=tmp_path / "ml_1m")
    data = PreparedData.load(tmp_path / "ml_1m")
    assert data.key == made.key
    assert {split: checksum(data, data.rows(split)) for split in BENCHMARK} == BENCHMARK
    assert checksum(data, data.sample("valid", "published", seed=5)) == PUBLISHED_VALID
    assert (data.num_users, data.num_items) == (838, 3255)
    columns = ("rows", "users", "items", "positives", "seen", "users_with_both_classes", "no_history")
    assert [[record[column] for column in columns] for record in data.manifest["splits"]] == [
        [33_891, 740, 3_087, 0.5368, 33_891, 640, 1_275],
        [10_401, 356, 2_506, 0.5283, 6_609, 282, 103],
        [7_331, 320, 2_203, 0.5454, 4_153, 224, 62],
    ]
    assert drop_records(data) == [{"what": "outside the benchmark's months", "count": 948_586}]


@pytest.fixture
def made(made_reader, tmp_path):
    tables = raw_tables(random_rows(3))
    prepare(made_reader(tables), UserTime(), name="made", positive=4, out=tmp_path / "out")
    return PreparedData.load(tmp_path / "out")


def test_tables_hold_raw_ids_numbers_and_labels(made):
    rows = made.interactions
    assert rows.columns == ["user_id", "item_id", "user", "item", "rating", "label", "timestamp", "split"]
    assert rows["label"].to_list() == [int(rating >= 4) for rating in rows["rating"]]
    assert [made.raw_user_ids[user] for user in rows["user"]] == rows["user_id"].to_list()
    assert [made.raw_item_ids[item] for item in rows["item"]] == rows["item_id"].to_list()
    assert made.titles == ["", *(f"Title {raw}" for raw in made.raw_item_ids[1:])]
    assert made.items["item"].to_list() == list(range(1, made.num_items + 1))


def test_texts_and_attributes_are_kept(made_reader, tmp_path):
    tables = raw_tables(random_rows(3))
    rows = tables.interactions.with_columns(review=pl.col("item_id") + "!", summary=pl.lit(None, pl.String))
    items = tables.items.with_columns(year=pl.col("item_id").cast(pl.Int32))
    data = prepare(made_reader(RawTables(rows, items)), UserTime(), name="made", positive=4, out=tmp_path / "out")
    assert (data.interactions["review"] == data.interactions["item_id"] + "!").all()
    assert data.items["year"].to_list() == [int(raw) for raw in data.raw_item_ids[1:]]


def test_an_item_without_a_record_has_no_title(made_reader, tmp_path):
    tables = raw_tables(random_rows(3))
    tables = RawTables(tables.interactions, tables.items.head(5))
    data = prepare(made_reader(tables), UserTime(), name="made", positive=4, out=tmp_path / "out")
    assert data.titles.count(None) == data.num_items - 5


@pytest.mark.parametrize(
    ("ratings", "words"), [((5.0, 5.0), "positive at data.positive=4"), ((1.0, 1.0), "negative at data.positive=4")]
)
def test_a_split_of_one_class_is_refused(made_reader, tmp_path, ratings, words):
    rows = [(u, i, ratings[k % 2], k) for k, (u, i, _, _) in enumerate(random_rows(3))]
    with pytest.raises(UserError, match=rf"all .* rows of the train split are {words}: AUC needs both"):
        prepare(made_reader(raw_tables(rows)), UserTime(), name="made", positive=4, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_empty_split_is_refused(made_reader, tmp_path):
    rows = [("1", "1", 5.0, 1), ("1", "2", 1.0, 2)]
    with pytest.raises(UserError, match="the valid split is empty"):
        prepare(made_reader(raw_tables(rows)), LeaveLastOut(), name="made", positive=4, out=tmp_path / "out")


def test_filters_that_leave_nothing_say_what_they_dropped(made_reader, tmp_path):
    reader = made_reader(raw_tables(random_rows(3)))
    with pytest.raises(UserError, match=r"no row is left of 300: 300 dropped .* users with 99"):
        prepare(reader, UserTime(), name="made", positive=4, min_user_rows=99, out=tmp_path / "out")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda t: RawTables(t.interactions.drop("rating"), t.items), "need the column rating as Float32"),
        (
            lambda t: RawTables(t.interactions.cast({"timestamp": pl.Float64}), t.items),
            "timestamp as Int64, it is Float64",
        ),
        (lambda t: RawTables(t.interactions.with_columns(user_id=pl.lit(None, pl.String)), t.items), "have no user_id"),
        (lambda t: RawTables(t.interactions, pl.concat([t.items, t.items.head(1)])), "listed more than once"),
        (lambda t: RawTables(t.interactions, t.items.drop("title")), "items need the column title"),
        (lambda t: RawTables(t.interactions.clear(), t.items), "no interactions"),
    ],
)
def test_a_reader_that_breaks_the_contract_is_refused(made_reader, tmp_path, spoil, words):
    with pytest.raises(UserError, match=words):
        prepare(made_reader(spoil(raw_tables(random_rows(3)))), UserTime(), name="x", positive=4, out=tmp_path / "out")


def test_the_key_follows_content_and_knobs_alone(made_reader, tmp_path):
    options = {"name": "made", "positive": 4.0}
    key = prepare_key(made_reader(raw_tables(random_rows(3))), UserTime(), options)
    again = made_reader(raw_tables(random_rows(3)))
    moved = tmp_path / "elsewhere.txt"
    again.path.rename(moved)
    assert prepare_key(type(again)(again.tables, moved), UserTime(), options) == key
    changed = [
        prepare_key(made_reader(raw_tables(random_rows(4))), UserTime(), options),
        prepare_key(made_reader(raw_tables(random_rows(3)), knob=1), UserTime(), options),
        prepare_key(made_reader(raw_tables(random_rows(3))), UserTime(0.7), options),
        prepare_key(made_reader(raw_tables(random_rows(3))), UserTime(), options | {"positive": 5.0}),
    ]
    assert len({key, *changed}) == 5


def test_a_folder_of_somebody_else_is_never_replaced(made_reader, tmp_path):
    other = tmp_path / "out"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="holds no prepared data"):
        prepare(made_reader(raw_tables(random_rows(3))), UserTime(), name="made", positive=4, out=other)
    assert (other / "thesis.tex").read_text() == "years of work"


def test_a_prepared_folder_is_replaced_as_a_whole(made, made_reader, tmp_path):
    tables = raw_tables(random_rows(7))
    data = prepare(made_reader(tables), UserTime(), name="made", positive=4, out=tmp_path / "out")
    assert PreparedData.load(tmp_path / "out").key == data.key != made.key


def test_a_full_disk_leaves_nothing_and_says_so(made_reader, tmp_path, monkeypatch):
    def full(self: pl.DataFrame, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    with pytest.raises(UserError, match="the disk is full"):
        prepare(
            made_reader(raw_tables(random_rows(3))), UserTime(), name="made", positive=4, out=tmp_path / "at" / "out"
        )
    assert list((tmp_path / "at").iterdir()) == []


def test_a_killed_run_can_be_run_again(made_reader, tmp_path, monkeypatch):
    reader = made_reader(raw_tables(random_rows(3)))

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pl.DataFrame, "write_parquet", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(reader, UserTime(), name="made", positive=4, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    prepare(reader, UserTime(), name="made", positive=4, out=tmp_path / "out")
    assert len(PreparedData.load(tmp_path / "out").interactions) == 300


def test_dropped_rows_are_recorded_and_empty_reasons_left_out(made_reader, tmp_path):
    tables = raw_tables(random_rows(3))
    tables = RawTables(tables.interactions, tables.items, [Dropped("broken", 4), Dropped("nothing", 0)])
    data = prepare(made_reader(tables), UserTime(), name="made", positive=4, out=tmp_path / "out")
    assert drop_records(data) == [{"what": "broken", "count": 4}]
