"""Tables that come to a run may have the names of the run's own files."""

from dataclasses import replace

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import recsys_lora
from recsys_lora.recommender import files, updates
from recsys_lora.recommender.layout import USER, Layout
from recsys_lora.utils.errors import UserError
from tests.jobs import resolved

SHOP = {"user_id": "customer", "item_id": "sku", "rating": "stars", "timestamp": "at", "title": "name"}
EVENTS = Layout.of_events({"columns": SHOP, "time": "%d/%m/%Y"})
OURS = Layout.of_events({})


def events(table, layout):
    return updates.events(table, layout, 4.0, (1.0, 5.0))


def test_the_runs_own_names_and_dates_are_read():
    own = {"customer": ["b", "a"], "sku": ["007", "8"], "stars": ["5", "2"], "at": ["31/05/2024", "01/02/2024"]}
    ours = {"user": ["a", "b"], "item_id": ["8", "007"], "rating": [2.0, 5.0]}
    assert_frame_equal(events(pl.DataFrame(own), EVENTS), events(pl.DataFrame(ours), OURS))
    records = [dict(zip(own, values, strict=True)) for values in zip(*own.values(), strict=True)]
    assert_frame_equal(events(records, EVENTS), events(pl.DataFrame(ours), EVENTS))


@pytest.mark.parametrize(
    ("form", "first", "then"),
    [
        ("%a %b %d %H:%M:%S %z %Y", "Mon Jan 01 09:00:00 +0900 2024", "Mon Jan 01 01:00:00 +0000 2024"),
        ("%d.%m.%Y", "31.12.2023", "01.02.2024"),
        ("%m/%d/%Y %H:%M", "2023-12-31", "01/02/2024 10:00"),
        ("%Q", "2023-12-31", "2024-01-01T00:00:00"),
    ],
)
def test_dates_are_ordered_by_the_runs_own_form(form, first, then):
    layout = Layout.of_events({"time": form})
    found = events([("late", "i", 5, then), ("early", "i", 5, first)], layout)
    assert found[USER].to_list() == ["early", "late"]


def test_the_own_name_is_the_column_where_ours_is_there_too():
    table = pl.DataFrame({"user": ["Ann"], "customer": ["c1"], "item": ["x"], "rating": [1.0], "stars": [5.0]})
    assert events(table, EVENTS).row(0) == ("c1", "x", 5.0, True)


def test_a_name_that_is_another_columns_own_is_not_ours():
    layout = Layout.of_items({"columns": SHOP, "item_columns": {"item_id": "item_id", "title": "item"}})
    table = layout.arranged(pl.DataFrame({"item": ["A Book"], "item_id": ["b1"]}), ["item", "title"], "items")
    assert table.row(0, named=True) == {"item": "b1", "title": "A Book"}


def test_places_of_columns_are_no_names():
    assert Layout.of_events({"columns": {"user_id": 2, "item_id": 1, "rating": None}}) == OURS
    assert Layout.of_events({"columns": "all", "time": "seconds"}) == OURS


def test_the_config_of_a_table_gives_the_names():
    reader = resolved("data=table", "data.columns.user_id=customer", "data.item_columns.title=name")["data"]["reader"]
    assert Layout.of_events(reader).own["user"] == "customer"
    assert Layout.of_items(reader).own["title"] == "name"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"user": ["a"], "user_id": ["a"], "item": ["x"]}, "interactions: columns user and user_id: leave one"),
        ({"who": ["a"], "sku": ["x"]}, "interactions: no column user or user_id or customer: it has who, sku"),
        ({"customer": ["a"], "sku": [None]}, "interactions: item is missing in 1 row: leave"),
        ({"customer": ["a"], "sku": ["x"], "stars": ["1,234"]}, "row 1: rating '1,234' is none from 1 to 5"),
        ({"customer": ["a"], "sku": ["x"], "at": ["31/13/2024"]}, "row 1: timestamp '31/13/2024' is neither"),
    ],
)
def test_a_mistake_is_one_line(given, said):
    with pytest.raises(UserError, match=said):
        events(pl.DataFrame(given), EVENTS)


def test_ids_are_text_whatever_they_were():
    rows = [(1, 2.0, 5.0), ("a", 2**70, 4), (None, 3, 5)]
    assert events(rows[:2], OURS)[USER].to_list() == ["1", "a"]
    assert events([(7, 2**70)], OURS)["item"].to_list() == [str(2**70)]
    assert events(pl.DataFrame({"user": [7.0], "item": [0.5]}), OURS).row(0)[:2] == ("7", "0.5")
    with pytest.raises(UserError, match="user is missing in 1 row"):
        events(rows, OURS)


def test_a_run_takes_its_own_files(runs, tmp_path):
    own, plain = (recsys_lora.load(runs("cora")) for _ in range(2))
    data = replace(own.run.config.data, reader={**own.run.config.data.reader, "columns": SHOP})
    own.run = replace(own.run, config=replace(own.run.config, data=data))
    (tmp_path / "items.csv").write_text("sku,name\n01,First\n")
    (tmp_path / "today.csv").write_text("customer,sku,stars\nu3,01,5\n007,i2,5\n")
    (tmp_path / "users.csv").write_text("customer,user\nu3,Ann\n007,Bob\n")
    assert own.add_items(files.read_table(tmp_path / "items.csv")) == plain.add_items([("01", "First")]) == 1
    assert own.update(files.read_table(tmp_path / "today.csv")) == 2
    plain.update([("u3", "01", 5.0), ("007", "i2", 5.0)])
    users = files.ids_of(files.read_users(tmp_path / "users.csv"), EVENTS, tmp_path / "users.csv")
    assert users == ["u3", "007"]
    assert_frame_equal(own.recommend(users, k=3, retrieve=5), plain.recommend(users, k=3, retrieve=5))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("users.csv", "name\nx\n", "no column user or user_id or customer: it has name"),
        ("users.csv", "customer\n", "no user is in it"),
        ("users.txt", "\n", "no user is in it"),
        ("users.csv", "customer;age\nu1;3\n", "users.csv, line 1: no commas in 'customer;age': separate fields by"),
        ("users.csv", "customer;age\nu1;3,5\n", "users.csv, line 1: no commas in 'customer;age': separate fields by"),
        ("users.csv", "customer,age\ru1,3\ru2,4\r", "users.csv: its lines end in carriage returns alone: save it"),
    ],
)
def test_a_file_without_users_is_one_line(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=said):
        files.ids_of(files.read_users(tmp_path / name), EVENTS, tmp_path / name)
