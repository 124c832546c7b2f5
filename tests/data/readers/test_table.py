"""A person's own tables."""

from datetime import UTC, datetime

import polars as pl
import pytest

from recsys_lora.data.readers.table import Tables
from recsys_lora.errors import UserError

COLUMNS = {"user_id": "customer", "item_id": "sku", "rating": "stars", "timestamp": "at", "title": "name"}
RATINGS = "at,stars,sku,customer,review,shop\n1700000000,4.5,007,ann,fine,x\n1700000001,2,b7,bob,,y\n"
ITEMS = 'sku,name,colour\n007,"Ring, ""gold""",red\nb7,Book,\n'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "r.csv").write_text(RATINGS)
    (tmp_path / "i.csv").write_text(ITEMS)
    return tmp_path


def tables(folder, **knobs):
    return Tables(**({"interactions": "r.csv", "items": "i.csv", "root": str(folder), "columns": COLUMNS} | knobs))


def test_columns_are_mapped_and_attributes_kept(folder):
    read = tables(folder).read()
    assert read.interactions.columns == ["user_id", "item_id", "rating", "timestamp", "review"]
    assert read.interactions.rows() == [
        ("ann", "007", 4.5, 1_700_000_000, "fine"),
        ("bob", "b7", 2.0, 1_700_000_001, None),
    ]
    assert read.items.rows() == [("007", 'Ring, "gold"', "red"), ("b7", "Book", None)]


def test_parquet_gives_what_csv_gives(folder):
    frame = pl.DataFrame(
        {
            "customer": [1.0, 2.0],
            "sku": [7, 8],
            "stars": [4, 2],
            "at": [datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)] * 2,
        }
    )
    frame.write_parquet(folder / "r.parquet")
    read = tables(folder, interactions="r.parquet", items=None).read()
    assert read.interactions.rows() == [("1", "7", 4.0, 1_700_000_000), ("2", "8", 2.0, 1_700_000_000)]
    assert read.items.rows() == [("7", None), ("8", None)]


@pytest.mark.parametrize(
    ("time", "texts"),
    [
        ("seconds", ["1700000000", "1700000000.0"]),
        ("milliseconds", ["1700000000000", "1700000000999"]),
        ("iso", ["2023-11-14T22:13:20", "2023-11-14T23:13:20+01:00"]),
        ("iso", ["2023-11-14 22:13:20", "2023-11-14T22:13:20Z"]),
    ],
)
def test_times(folder, time, texts):
    lines = [f"{text},5,1,u" for text in texts]
    (folder / "r.csv").write_text("\n".join(["at,stars,sku,customer", *lines]))
    assert tables(folder, time=time).read().interactions["timestamp"].to_list() == [1_700_000_000] * 2


def test_rows_with_missing_values_are_dropped_and_counted(folder):
    (folder / "r.csv").write_text("customer,sku,stars,at\na,1,5,1\n,1,5,1\nb,,5,1\nc,1,,1\nd,1,5,\n")
    (folder / "i.csv").write_text("sku,name\n2,Two\n3,Old\n3,New\n,Nobody\n4,\n")
    read = tables(folder).read()
    assert read.interactions["user_id"].to_list() == ["a"]
    assert [drop.rows for drop in read.dropped] == [4]
    assert read.items.rows() == [("2", "Two"), ("3", "New"), ("4", None)]
    assert [remark.count for remark in read.remarks] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("customer,sku,star,at\na,1,5,1\n", r"no column 'stars' .*customer, sku, star, at.*data\.columns\.rating=star"),
        ("customer,sku,stars,at\na,1,5,1\n\nb,1,five,1\n", "line 4: rating is 'five', not a number"),
        ("customer,sku,stars,at\n,1,5,1\nb,1,4,noon\n", "line 3: timestamp is 'noon', not a number"),
        ("", "is empty"),
    ],
)
def test_what_cannot_be_used_is_named(folder, content, words):
    (folder / "r.csv").write_text(content)
    with pytest.raises(UserError, match=f"r.csv.*{words}"):
        tables(folder).read()


def test_a_date_that_is_none_is_named(folder):
    (folder / "r.csv").write_text("customer,sku,stars,at\na,1,5,2024-01-01\na,1,5,31.5.2024\n")
    with pytest.raises(UserError, match=r"line 3: timestamp is '31.5.2024', not a date"):
        tables(folder, time="iso").read()


def test_files_that_are_not_there_or_not_parquet(folder):
    with pytest.raises(UserError, match=r"none.csv: no such file: correct data\.items"):
        tables(folder, items="none.csv").files()
    with pytest.raises(UserError, match=r"no table is named: data\.interactions=FILE"):
        Tables().files()
    (folder / "r.parquet").write_text("no")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        tables(folder, interactions="r.parquet").read()
    pl.DataFrame({"customer": [1.5], "sku": [1], "stars": [1], "at": [1]}).write_parquet(folder / "r.parquet")
    with pytest.raises(UserError, match="user_id has numbers with decimals"):
        tables(folder, interactions="r.parquet").read()
