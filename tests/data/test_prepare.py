"""Preparing: what is written, what is refused, what the key depends on."""

import errno
import importlib
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from recsys_lora.data import numbering
from recsys_lora.data.negatives import Negatives
from recsys_lora.data.prepare import notes, prepare, prepare_key
from recsys_lora.data.prepared import PreparedData
from recsys_lora.data.readers.movielens import MovieLens1M
from recsys_lora.data.rows import checksum
from recsys_lora.data.schema import Dropped, RawTables, Remark
from recsys_lora.data.split import LeaveLastOut, MovieLensBenchmark, UserTime
from recsys_lora.utils.errors import UserError
from tests.data.conftest import random_rows

BENCHMARK = {
    "train": "99f71b9fe41d4bab7f9952ef39d8602847b4d35dba81645ffc426a36dada24bd",
    "valid": "287174628abd9685c4483630f594d6d11c4f0c9c013067e6b02f75a7ba50dfb6",
    "test": "81e666aa1687773e71261e1eaa3ce64979dce34f87f62e150625b2eabc1f7ea6",
}
COLUMNS = ("user_id", "item_id", "label", "timestamp", "split")
PUBLISHED_VALID = "123fff900c50cc1040cfaf6be6164596a492fc491407a13f22572031f293ec77"


def test_ml_1m_is_the_benchmark_row_for_row(raw_data, tmp_path):
    reader = MovieLens1M(raw_data / "ml-1m")
    made = prepare(reader, MovieLensBenchmark(), name="ml_1m", positive=4, out=tmp_path / "ml_1m")
    data = PreparedData.load(tmp_path / "ml_1m")
    assert data.key == made.key
    assert {split: checksum(data.rows(split), data.history) for split in BENCHMARK} == BENCHMARK
    assert checksum(data.sample("valid", "published", seed=5), data.history) == PUBLISHED_VALID
    assert (data.num_users, data.num_items) == (838, 3255)
    columns = ("rows", "users", "items", "positives", "seen", "users_with_both_classes", "no_history")
    assert [[record[column] for column in columns] for record in data.manifest["splits"]] == [
        [33_891, 740, 3_087, 0.5368, 33_891, 640, 1_275],
        [10_401, 356, 2_506, 0.5283, 6_609, 282, 103],
        [7_331, 320, 2_203, 0.5454, 4_153, 224, 62],
    ]
    assert notes(data) == [
        "dropped 948,586 rows: outside the benchmark's months",
        "rows are from 2001-06-01 to 2003-01-31",
        "4,937 valid and 3,483 test rows share user and time with another row: they stand in the order of the "
        "published split",
    ]
    assert [record["tied"] for record in data.manifest["splits"]] == [17_959, 4_937, 3_483]


@pytest.fixture
def made(made_reader, tmp_path):
    tables = random_rows(3)
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
    spoil = (
        "ALTER TABLE interactions ADD COLUMN review VARCHAR; ALTER TABLE interactions ADD COLUMN summary VARCHAR;"
        "UPDATE interactions SET review = item_id || '!'; ALTER TABLE items ADD COLUMN year INTEGER;"
        "UPDATE items SET year = CAST(item_id AS INTEGER)"
    )
    data = prepare(made_reader(random_rows(3), spoil=spoil), UserTime(), name="made", positive=4, out=tmp_path / "out")
    assert (data.interactions["review"] == data.interactions["item_id"] + "!").all()
    assert data.interactions["summary"].null_count() == 300
    assert data.texts("review") == data.interactions["review"].to_list()
    assert (data.text_columns, data.item_attributes, data.user_attributes) == (["review", "summary"], ["year"], [])
    assert data.items["year"].to_list() == [int(raw) for raw in data.raw_item_ids[1:]]


def test_an_item_without_a_record_has_no_title(made_reader, tmp_path):
    rows = random_rows(3)
    titles = {item: f"Title {item}" for item in sorted({item for _, item, *_ in rows})[:5]}
    data = prepare(made_reader(rows, titles=titles), UserTime(), name="made", positive=4, out=tmp_path / "out")
    assert data.titles.count(None) == data.num_items - 5


def test_items_without_rows_may_stay_in_the_catalogue(made_reader, tmp_path):
    rows = random_rows(3, items=8)
    titles = {"new": "New", **{str(item): f"Title {item}" for item in range(1, 9)}, "other": None}
    reader = made_reader(rows, titles=titles)
    few = prepare(reader, UserTime(), name="made", positive=4, out=tmp_path / "few")
    all_ = prepare(reader, UserTime(), name="made", positive=4, out=tmp_path / "all", catalogue="all")
    assert (few.num_items, all_.num_items) == (8, 10)
    assert all_.raw_item_ids == [*few.raw_item_ids, "new", "other"]
    assert all_.titles[9:] == ["New", None]
    assert all_.interactions.equals(few.interactions)
    assert all_.train_counts()[1].tolist()[9:] == [0, 0]


@pytest.mark.parametrize(
    ("ratings", "words"), [((5.0, 5.0), "positive at data.positive=4"), ((1.0, 1.0), "negative at data.positive=4")]
)
def test_a_split_of_one_class_is_refused(made_reader, tmp_path, ratings, words):
    rows = [(u, i, ratings[k % 2], k) for k, (u, i, _, _) in enumerate(random_rows(3))]
    with pytest.raises(UserError, match=rf"every row of the train split \(.*\) is {words}: AUC needs both"):
        prepare(made_reader(rows), UserTime(), name="made", positive=4, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_empty_split_is_refused(made_reader, tmp_path):
    rows = [("1", "1", 5.0, 1), ("1", "2", 1.0, 2)]
    with pytest.raises(UserError, match="the valid split is empty"):
        prepare(made_reader(rows), LeaveLastOut(), name="made", positive=4, out=tmp_path / "out")


def test_filters_that_leave_nothing_say_what_they_dropped(made_reader, tmp_path):
    reader = made_reader(random_rows(3))
    with pytest.raises(UserError, match=r"no row is left of 300: 300 dropped .* users with 99"):
        prepare(reader, UserTime(), name="made", positive=4, min_user_rows=99, out=tmp_path / "out")


def test_a_split_that_leaves_nothing_says_what_it_dropped(made_reader, tmp_path):
    with pytest.raises(UserError, match=r"no row is left of 300: 300 dropped \(outside the benchmark's months\)"):
        prepare(made_reader(random_rows(3)), MovieLensBenchmark(), name="made", positive=4, out=tmp_path / "out")


def test_likes_below_the_usual_threshold_are_told_which_to_take(made_reader, tmp_path):
    rows = [(user, item, float(k % 2), when) for k, (user, item, _, when) in enumerate(random_rows(3))]
    with pytest.raises(UserError, match=r"ratings are 0 to 1\), such as data\.positive=1, or data\.split"):
        prepare(made_reader(rows), UserTime(), name="made", positive=4, out=tmp_path / "out")
    made = prepare(made_reader(rows), UserTime(), name="made", positive=1, out=tmp_path / "out")
    assert made.manifest["splits"][0]["positives"] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("ALTER TABLE interactions DROP COLUMN rating", "need the column rating as FLOAT, it is missing"),
        ("ALTER TABLE interactions ALTER timestamp TYPE DOUBLE", "timestamp as BIGINT, it is DOUBLE"),
        ("UPDATE interactions SET user_id = NULL WHERE line < 7", "user_id is missing in 7 interactions"),
        ("INSERT INTO items SELECT * FROM items LIMIT 1", "item_id .* is listed more than once"),
        ("ALTER TABLE items DROP COLUMN title", "items need the column title"),
        ("DELETE FROM interactions", "no interactions"),
    ],
)
def test_a_reader_that_breaks_the_contract_is_refused(made_reader, tmp_path, spoil, words):
    with pytest.raises(UserError, match=words):
        prepare(made_reader(random_rows(3), spoil=spoil), UserTime(), name="x", positive=4, out=tmp_path / "out")
    assert list(tmp_path.glob("out*")) == list(tmp_path.glob(".out*")) == []


def test_the_key_follows_content_and_knobs_alone(made_reader, tmp_path):
    options = {"name": "made", "positive": 4.0}
    key = prepare_key(made_reader(random_rows(3)), UserTime(), options)
    again = made_reader(random_rows(3))
    moved = tmp_path / "elsewhere.txt"
    again.path.rename(moved)
    assert prepare_key(replace(again, path=moved), UserTime(), options) == key
    changed = [
        prepare_key(made_reader(random_rows(4)), UserTime(), options),
        prepare_key(made_reader((random_rows(3)), knob=1), UserTime(), options),
        prepare_key(made_reader(random_rows(3)), UserTime(0.7), options),
        prepare_key(made_reader(random_rows(3)), UserTime(), options | {"positive": 5.0}),
        prepare_key(made_reader(random_rows(3)), UserTime(), options | {"rating_scale": {"low": 0}}),
    ]
    assert len({key, *changed}) == 6


READER = """
from recsys_lora.data.readers.table import Tables


class Mine(Tables):
    # {comment}
    def read(self, engine):
        \"""{docstring}\"""
        tables = super().read(engine)
        engine.run("{sql}")
        return tables
"""


def test_an_edited_reader_makes_its_tables_anew(tmp_path, monkeypatch):
    (tmp_path / "r.csv").write_text("user_id,item_id,rating,timestamp\nu,i,5,1\n")
    monkeypatch.syspath_prepend(tmp_path)
    keys = []
    for comment, docstring, sql in (("", "", "SELECT 1"), ("a word", "Reads.", "SELECT 1"), ("", "", "SELECT 2")):
        (tmp_path / "my_reader.py").write_text(READER.format(comment=comment, docstring=docstring or "x", sql=sql))
        sys.modules.pop("my_reader", None)
        importlib.invalidate_caches()
        reader = importlib.import_module("my_reader").Mine("r.csv", root=str(tmp_path))
        keys.append(prepare_key(reader, UserTime(), {}))
    assert keys[0] == keys[1] != keys[2]


def test_the_key_of_tables_is_that_of_their_content(made_reader, tmp_path):
    """What follows from equal tables need not be made again, whatever made them."""
    first = prepare(made_reader(random_rows(3)), UserTime(), name="made", positive=4, out=tmp_path / "a")
    second = prepare(made_reader(random_rows(3), knob=1), UserTime(), name="made", positive=4, out=tmp_path / "b")
    other = prepare(made_reader(random_rows(4)), UserTime(), name="made", positive=4, out=tmp_path / "c")
    scaled = prepare(
        made_reader(random_rows(3)),
        UserTime(),
        name="made",
        positive=4,
        rating_scale={"low": 1, "high": 5, "step": 1},
        out=tmp_path / "d",
    )
    assert first.key == second.key
    assert len({first.key, other.key, scaled.key}) == 3


def test_a_folder_of_somebody_else_is_never_replaced(made_reader, tmp_path):
    other = tmp_path / "out"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="holds no prepared data"):
        prepare(made_reader(random_rows(3)), UserTime(), name="made", positive=4, out=other)
    assert (other / "thesis.tex").read_text() == "years of work"


def test_a_prepared_folder_is_replaced_as_a_whole(made, made_reader, tmp_path):
    tables = random_rows(7)
    data = prepare(made_reader(tables), UserTime(), name="made", positive=4, out=tmp_path / "out")
    assert PreparedData.load(tmp_path / "out").key == data.key != made.key


def test_a_full_disk_leaves_nothing_and_says_so(made_reader, tmp_path, monkeypatch):
    def full(opened, tables, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(numbering, "write_items", full)
    with pytest.raises(UserError, match="the disk is full"):
        prepare(made_reader(random_rows(3)), UserTime(), name="made", positive=4, out=tmp_path / "at" / "out")
    assert list((tmp_path / "at").iterdir()) == []


def test_a_killed_run_can_be_run_again(made_reader, tmp_path, monkeypatch):
    reader = made_reader(random_rows(3))

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(numbering, "write_items", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(reader, UserTime(), name="made", positive=4, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    prepare(reader, UserTime(), name="made", positive=4, out=tmp_path / "out")
    assert len(PreparedData.load(tmp_path / "out").interactions) == 300


def test_dropped_rows_are_recorded_and_empty_reasons_left_out(made_reader, tmp_path):
    tables = RawTables(
        dropped=[Dropped("broken", 4), Dropped("nothing", 0)], remarks=[Remark("odd", 2), Remark("not odd", 0)]
    )
    data = prepare(
        made_reader(random_rows(3), tables=tables), UserTime(), name="made", positive=4, out=tmp_path / "out"
    )
    assert notes(data)[:2] == ["dropped 4 rows: broken", "odd (2)"]
    assert len(notes(data)) == 4  # dates and ties, too


def test_tied_rows_are_counted(made_reader, tmp_path):
    rows = random_rows(3, days=25)
    data = prepare(made_reader(rows), UserTime(), name="made", positive=4, out=tmp_path / "out")
    times = Counter((user, when) for user, _, _, when in rows)
    for record in data.manifest["splits"]:
        table = data.interactions.filter(split=record["split"])
        tied = sum(times[pair] > 1 for pair in table.select("user_id", "timestamp").rows())
        assert record["tied"] == tied > 0
    counts = [record["tied"] for record in data.manifest["splits"][1:]]
    assert data.manifest["remarks"][-1]["text"] == (
        f"{counts[0]} valid and {counts[1]} test rows share user and time with another row: they stand in seeded "
        "random order (data.split.ties)"
    )


def test_dates_are_said_and_doubted(made_reader, tmp_path):
    rows = random_rows(3)
    data = prepare(made_reader(rows), UserTime(), name="made", positive=4, out=tmp_path / "a")
    assert data.manifest["remarks"][0]["text"] == (
        "rows are from 1970-01-01 to 1970-02-09: are times in another unit? See data.reader.time"
    )
    later = [(user, item, rating, when + 1_500_000_000) for user, item, rating, when in rows]
    data = prepare(made_reader(later), UserTime(), name="made", positive=4, out=tmp_path / "b")
    assert data.manifest["remarks"][0]["text"] == "rows are from 2017-07-14 to 2017-08-22"


SCALE = {"low": 1.0, "high": 5.0, "step": 1.0}


def test_ratings_outside_of_the_scale(made_reader, tmp_path):
    rows = [
        (user, item, 0.0 if k % 3 == 0 else rating, when) for k, (user, item, rating, when) in enumerate(random_rows(3))
    ]
    rows[1] = (*rows[1][:2], 4.5, rows[1][3])

    def made(policy):
        return prepare(
            made_reader(rows),
            UserTime(),
            name="made",
            positive=4,
            rating_scale=SCALE,
            off_scale=policy,
            out=tmp_path / policy,
        )

    kept, dropped = made("keep"), made("drop")
    assert len(kept.interactions) == 300
    text = "ratings (33.3%) lie outside of data.rating_scale, 1 to 5 (from 0 to 0)"
    assert kept.manifest["remarks"][0]["text"].startswith(text)
    assert [record["count"] for record in kept.manifest["remarks"][:2]] == [100, 1]
    assert len(dropped.interactions) == 200
    assert dropped.interactions["rating"].min() == 1
    assert dropped.manifest["dropped"][0]["rows"] == 100
    with pytest.raises(UserError, match=r"100 of 300 ratings outside of data\.rating_scale.*data\.off_scale=drop"):
        made("error")


def test_rows_without_ratings_get_sampled_negatives(made_reader, tmp_path):
    rows = [(user, item, 1.0, when) for user, item, _, when in random_rows(3, rows=120)]
    titles = {str(item): f"Title {item}" for item in range(1, 36)}
    reader = made_reader(rows, titles=titles, tables=RawTables(rated=False))
    knobs = {"name": "made", "positive": 4, "catalogue": "all"}
    data = prepare(reader, UserTime(), **knobs, negatives=Negatives(2, 3), out=tmp_path / "a")
    known = {(user, item) for user, item, *_ in rows}
    trained = {item for _, item, _, _, part in data.interactions.select(*COLUMNS).rows() if part == "train"}
    for split, count in (("train", 2), ("valid", 3), ("test", 3)):
        table = data.interactions.filter(split=split)
        positives, negatives = (table.filter(label=label) for label in (1, 0))
        assert len(negatives) == count * len(positives) > 0
        assert not known & set(negatives.select("user_id", "item_id").rows())
        for begin in range(0, len(table), count + 1):  # each positive behind its own, which are distinct
            group = table[begin : begin + count + 1]
            assert group["label"].to_list() == [0] * count + [1]
            assert group["item"].n_unique() == count + 1
            assert group["timestamp"].n_unique() == group["user"].n_unique() == 1
    tests = data.rows("test")
    assert set(data.interactions.filter(split="train", label=0)["item_id"]) <= trained
    assert (tests.position[::4] == tests.position[3::4]).all()  # a negative's history is its positive's
    assert data.manifest["negatives"] == {"train": 2, "test": 3, "seed": 0}
    assert data.manifest["splits"][2]["positives"] == 0.25
    again = prepare(reader, UserTime(), **knobs, negatives=Negatives(2, 3, seed=1), out=tmp_path / "b")
    assert again.key != data.key


def test_who_likes_nearly_everything_gets_what_is_left(made_reader, tmp_path):
    rows = [("u", str(item), 1.0, item) for item in range(20)] + [("v", str(item), 1.0, item) for item in range(3, 20)]
    reader = made_reader(rows, tables=RawTables(rated=False))
    data = prepare(reader, UserTime(), name="made", positive=4, negatives=Negatives(2, 3), out=tmp_path / "out")
    negatives = data.interactions.filter(label=0)
    assert set(negatives["user_id"]) == {"v"}
    assert set(negatives.filter(split="test")["item_id"]) == {"0", "1", "2"}
    assert data.manifest["remarks"][1] == {
        "text": "negatives could not be sampled: these users like nearly all items",
        "count": 2 * 16 + 3 * 4,
    }


def test_the_reader_in_the_documents_works(tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "adding_a_dataset.md").read_text()
    block = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict = {}
    exec(block.group(1), names)
    lines = [f"c{k % 7},s{k * k % 41},2024-01-{k % 27 + 1:02d}" for k in range(140)]
    (tmp_path / "orders.csv").write_text("\n".join(["customer,sku,ordered", *lines]))
    reader = names["Shop"](str(tmp_path / "orders.csv"))
    data = prepare(reader, UserTime(), name="shop", positive=1, catalogue="all", out=tmp_path / "out")
    assert (data.num_users, data.num_items, int(data.rows("test").label.sum())) == (7, 21, 14)
