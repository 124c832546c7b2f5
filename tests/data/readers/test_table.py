"""A person's own tables."""

from datetime import UTC, datetime

import polars as pl
import pytest

from recsys_lora.data.readers.table import Tables
from recsys_lora.data.readers.text_format import TextFormat
from recsys_lora.utils.errors import UserError

COLUMNS = {"user_id": "customer", "item_id": "sku", "rating": "stars", "timestamp": "at", "title": "name"}
RATINGS = "at,stars,sku,customer,review,shop\n1700000000,4.5,007,ann,fine,x\n1700000001,2,b7,bob,,y\n"
ITEMS = 'sku,name,colour\n007,"Ring, ""gold""",red\nb7,Book,\n'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "r.csv").write_text(RATINGS)
    (tmp_path / "i.csv").write_text(ITEMS)
    return tmp_path


@pytest.fixture
def read(folder, engine):
    """Read tables; returns what the reader says, the interactions and the items, without their lines."""

    def tables(**knobs):
        options = {"interactions": "r.csv", "items": "i.csv", "root": str(folder), "columns": COLUMNS} | knobs
        said = Tables(**options).read(engine)
        names = ("interactions", "items")
        return said, *(engine.rows(f"SELECT * EXCLUDE (line) FROM {name} ORDER BY line") for name in names)

    return tables


def test_columns_are_mapped_and_attributes_kept(read, engine):
    _, interactions, items = read()
    assert list(engine.columns("interactions")) == ["line", "user_id", "item_id", "rating", "timestamp", "review"]
    assert interactions == [("ann", "007", 4.5, 1_700_000_000, "fine"), ("bob", "b7", 2.0, 1_700_000_001, None)]
    assert list(engine.columns("items")) == ["line", "item_id", "title", "colour"]
    assert items == [("007", 'Ring, "gold"', "red"), ("b7", "Book", None)]


def test_parquet_gives_what_csv_gives(folder, read):
    when = [datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)] * 2
    frame = pl.DataFrame({"customer": [1.0, 2.0], "sku": [7, 8], "stars": [4, 2], "at": when})
    frame.write_parquet(folder / "r.parquet")
    _, interactions, items = read(interactions="r.parquet", items=None)
    assert interactions == [("1", "7", 4.0, 1_700_000_000), ("2", "8", 2.0, 1_700_000_000)]
    assert items == [("7", None), ("8", None)]


NOON = 1_700_000_000


@pytest.mark.parametrize(
    ("time", "texts"),
    [
        ("seconds", ["1700000000", "1700000000.9"]),
        ("milliseconds", ["1700000000000", "1700000000999"]),
        ("microseconds", ["1700000000000000", "1700000000999999"]),
        ("nanoseconds", ["1700000000000000000", "1700000000999999999"]),
        ("iso", ["2023-11-14T22:13:20", "2023-11-14T23:13:20+01:00"]),
        ("iso", ["2023-11-14 22:13:20", "2023-11-14T22:13:20Z"]),
        ("iso", ["2023-11-14 22:13:20+00:00", "2023-11-14 22:13:20 UTC", "2023-11-14 22:13:20 Z"]),
        ("iso", ["2023/11/14 22:13:20", "20231114T221320Z", "20231114T221320", "2023-11-14T22:13:20,5"]),
        ("iso", ["2023-11-14T22:13:20.123456789Z", "2023-11-15T03:43:20+0530"]),
        ("iso", ["2023-11-14 22:13:20 +0000 UTC", "2023-11-14t22:13:20z", "2023-11-14T22:13:20 -00:00"]),
        ("iso", ["2023-11-14T22:13:20+00:00[Europe/London]", "2023.11.14 22:13:20", "20231114 221320"]),
        ("iso", ["20231114T221320.123Z", "20231114221320", "20231114T231320+01:00"]),
        ("%a %b %d %H:%M:%S %z %Y", ["Tue Nov 14 14:13:20 -0800 2023"]),
        ("%d.%m.%Y %H:%M:%S", ["14.11.2023 22:13:20"]),
        (None, ["1700000000", "1700000000.0"]),
        (None, ["1700000000000"]),
        (None, ["1700000000000000"]),
        (None, ["1700000000000000000"]),
        (None, ["2023-11-14T22:13:20Z"]),
        (None, ["20231114T221320"]),
        (None, ["20231114221320"]),
        (None, ["1.7e9", "1.70000000e+09"]),
    ],
)
def test_times(folder, read, time, texts):
    lines = [f'"{text}",5,007,u' for text in texts]
    (folder / "r.csv").write_text("\n".join(["at,stars,sku,customer", *lines]))
    _, interactions, _ = read(time=time)
    assert [when for *_, when in interactions] == [NOON] * len(texts)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2023-11-14", 1_699_920_000),
        ("20231114", 1_699_920_000),
        ("2023-W46-2", 1_699_920_000),
        ("2023-318", 1_699_920_000),
        ("2023-11", 1_698_796_800),
        ("2023-11-14T22", 1_699_999_200),
        ("2023-11-14T22:13", 1_699_999_980),
        ("20231114T2213", 1_699_999_980),
    ],
)
def test_days_and_minutes(folder, read, text, seconds):
    (folder / "r.csv").write_text(f"at,stars,sku,customer\n{text},5,007,u\n")
    assert read()[1][0][3] == read(time="iso")[1][0][3] == seconds


def test_times_of_32_bits_are_what_they_hold(folder, read):
    frame = pl.DataFrame({"customer": ["a"], "sku": ["7"], "stars": [4], "at": [1_500_079_827.0]})
    frame.cast({"at": pl.Float32}).write_parquet(folder / "r.parquet")
    assert read(interactions="r.parquet", items=None)[1][0][3] == 1_500_079_872  # their text is 1.5000799e9


def test_negative_times_are_before_1970(folder, read):
    (folder / "r.csv").write_text("at,stars,sku,customer\n-1500,5,007,u\n")
    assert [read(time=unit)[1][0][3] for unit in ("seconds", "milliseconds")] == [-1500, -2]


def test_rows_with_missing_values_are_dropped_and_counted(folder, read):
    (folder / "r.csv").write_text("customer,sku,stars,at\na,1,5,1\n,1,5,1\nb, ,5,1\nc,1,,1\nd,1,5,\nd,2,5,1\n")
    (folder / "i.csv").write_text("sku,name\n2,Two\n3,Old\n3,New\n,Nobody\n4, \n")
    said, interactions, items = read()
    assert [user for user, *_ in interactions] == ["a", "d"]
    assert [drop.rows for drop in said.dropped] == [4]
    assert items == [("2", "Two"), ("3", "New"), ("4", None)]
    assert {remark.text.split(" (")[0]: remark.count for remark in said.remarks} == {
        "rows of the items table without an id": 1,
        "rows of the items table that a later one of the same item replaces": 1,
        "items of the interactions that the items table does not have": 1,
        "items whose title is empty": 1,
    }
    assert any("such as '1'; it has '3', which has no interaction" in remark.text for remark in said.remarks)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("customer,sku,star,at\na,1,5,1\n", r"no column 'stars' .*customer, sku, star, at.*data\.columns\.rating=star"),
        ("customer,sku,stars,at\na,1,5,1\n\nb,1,five,1\n", "line 4, column 'stars': rating is 'five', not a number"),
        ("customer,sku,stars,at\n,1,5,1\nb,1,4,noon\n", "line 3, column 'at': timestamp is 'noon', not a number"),
        (
            "customer,sku,stars,at\nb,1,4,99999999999999999\nb,1,4,1\n",
            "line 3, column 'at': timestamp is '1'|up to the year 9999",
        ),
        ("customer,sku,stars,at\na,1,5,1\na,1,1e300,1\n", "line 3, column 'stars': rating is '1e300', not a number"),
        ("", "is empty"),
        ("customer,sku,stars,at\n", "has a header and no rows"),
        ("customer,sku,stars,at\na,1,5,1\na,1,5\n", "line 3: 3 fields where the header has 4"),
        ("customer,sku,stars,at\na,1,5,1\n\na,1,5,1,2\n", "line 4: 5 fields where the header has 4"),
        ('customer,sku,stars,at\na,1,5,1\na,"1,5,1\n', "after line 2: quotes are not closed"),
    ],
)
def test_what_cannot_be_used_is_named(folder, read, content, words):
    (folder / "r.csv").write_text(content)
    with pytest.raises(UserError, match=f"r.csv.*({words})"):
        read(items=None, time="seconds")


def test_a_date_that_is_none_is_named_with_what_to_say(folder, read):
    (folder / "r.csv").write_text("customer,sku,stars,at\na,1,5,2024-01-01\na,1,5,31.5.2024\n")
    with pytest.raises(
        UserError, match=r"line 3, column 'at': timestamp is '31.5.2024', not a date.*data\.reader\.time=%d\.%m\.%Y"
    ):
        read(time="iso")


def test_files_that_are_not_there_or_not_parquet(folder, read):
    with pytest.raises(UserError, match=r"none.csv: no such file: correct data\.items"):
        Tables("r.csv", "none.csv", root=str(folder)).files()
    with pytest.raises(UserError, match=r"no table is named: data\.interactions=FILE"):
        Tables().files()
    (folder / "r.parquet").write_text("no")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        read(interactions="r.parquet")
    (folder / "r.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        read(interactions="r.parquet")
    pl.DataFrame({"customer": [1.5], "sku": [1], "stars": [1], "at": [1]}).write_parquet(folder / "r.parquet")
    with pytest.raises(UserError, match=r"row 1, column 'customer': user_id is '1\.5', not a whole number"):
        read(interactions="r.parquet")


def test_all_columns_that_are_called_otherwise_are_named_at_once(folder, read):
    (folder / "r.csv").write_text(",Customer_ID,Product,when\n0,a,1,2024-01-01\n")
    proposed = (
        r"no column 'user_id', 'item_id', 'rating', 'timestamp' \(the file has: '', Customer_ID, Product, when\): say "
        r"which it is, data\.columns\.user_id=Customer_ID data\.columns\.item_id=Product data\.columns\.rating=NAME "
        r"data\.columns\.timestamp=when \(data\.columns\.rating=null where there is none: then every row is a positive"
    )
    with pytest.raises(UserError, match=proposed):
        read(items=None, columns={})
    followed = {"user_id": "Customer_ID", "item_id": "Product", "rating": None, "timestamp": "when"}
    assert read(items=None, columns=followed)[1] == [("a", "1", 1_704_067_200, 1.0)]


def test_a_first_row_of_words_may_be_no_header(folder, read):
    (folder / "i.csv").write_text("x1,red\n007,blue\n")
    with pytest.raises(UserError, match=r"first row, data\.reader\.item_format\.header=false"):
        read()
    found = read(item_format=TextFormat(header=False), item_columns={"item_id": 1, "title": 2})[2]
    assert found == [("x1", "red"), ("007", "blue")]
    with pytest.raises(
        UserError, match=r"no column 'sku', 'name' \(the file has: 1, 2\).*item_columns\.item_id=NUMBER"
    ):
        read(item_format=TextFormat(header=False))
    (folder / "i.csv").write_text("sku,label\n007,blue\n")
    with pytest.raises(UserError) as caught:
        read()
    assert "first row" not in str(caught.value)


@pytest.mark.parametrize("mark", ["\\N", "NULL", "null", "NaN", "nan"])
def test_marks_of_databases_and_pandas_are_missing_values(folder, read, mark):
    rows = f"customer,sku,stars,at\na,1,5,1\n{mark},1,5,1\nb,{mark},5,1\nc,1,{mark},1\nd,1,5,{mark}\n"
    (folder / "r.csv").write_text(rows)
    (folder / "i.csv").write_text(f"sku,name,colour\n1,{mark},{mark}\n")
    said, interactions, items = read(time="seconds")
    assert interactions == [("a", "1", 5.0, 1)]
    assert [drop.rows for drop in said.dropped] == [4]
    assert items == [("1", None, None)]


def test_other_marks_are_values_unless_somebody_says_so(folder, read):
    (folder / "r.csv").write_text("customer,sku,stars,at\na,1,5,1\nNA,1,4,1\nc,1,N/A,1\n")
    with pytest.raises(
        UserError, match=r"""line 4, column 'stars': rating is 'N/A'.*no value, 'data\.reader\.missing=\["N/A"\]'"""
    ):
        read(items=None, time="seconds")
    said, interactions, _ = read(items=None, missing=["N/A"], time="seconds")
    assert [user for user, *_ in interactions] == ["a", "NA"]
    assert [drop.rows for drop in said.dropped] == [1]
    (folder / "i.csv").write_text("sku,name\n1,NA\n")
    assert read(missing=["N/A"], item_format=TextFormat(missing=["NA"]))[2] == [("1", None)]


def test_rows_of_some_kinds_of_events_count(folder, read):
    (folder / "r.csv").write_text("customer,sku,kind,at\na,1,buy,1\na,2,view,2\nb,1,cart,oh\nb,3,,4\nc,1,buy,\n")
    columns = COLUMNS | {"rating": None}
    said, interactions, _ = read(items=None, columns=columns, where={"kind": "buy"}, time="seconds")
    assert interactions == [("a", "1", 1, 1.0)]  # what other rows hold, as a time that is none, is not looked at
    assert [(drop.reason, drop.rows) for drop in said.dropped] == [
        ("column kind has none of buy", 3),
        ("user, item, timestamp: one of them is missing", 1),
    ]
    some = read(items=None, columns=columns, where={"kind": ["buy", "view"], "sku": [2]}, time="seconds")[1]
    assert some == [("a", "2", 2, 1.0)]
    with pytest.raises(
        UserError, match=r"no column 'event' \(the file has: customer, sku, kind, at\): correct data\.reader"
    ):
        read(items=None, columns=columns, where={"event": "buy"})
    with pytest.raises(UserError, match=r"no row is left \(5 rows: column kind has none of sell\)"):
        read(items=None, columns=columns, where={"kind": "sell"}, time="seconds")


def test_kinds_of_events_are_found_by_place_and_in_parquet(folder, read):
    (folder / "r.csv").write_text("a,1,9,buy,1\na,2,9,pv,2\n")
    columns = {"rating": None, "timestamp": 5}
    assert len(read(items=None, columns=columns, header=False, where={4: "buy"})[1]) == 1
    pl.DataFrame({"user_id": [1, 1], "item_id": [2, 3], "kind": [1, 4]}).write_parquet(folder / "r.parquet")
    columns = {"rating": None, "timestamp": None}
    found = read(interactions="r.parquet", items=None, columns=columns, where={"kind": 4})[1]
    assert [row[:2] for row in found] == [("1", "3")]


def test_a_web_page_is_no_table(folder, read):
    (folder / "r.csv").write_text("\ufeff\n<!DOCTYPE html><html><body>Sign in, please</body></html>")
    with pytest.raises(UserError, match=r"r\.csv: a web page, not a table: download the file itself"):
        read()


# Columns


def test_one_column_may_fill_two_roles(folder, read):
    (folder / "r.csv").write_text("customer,sku,stars,at,text\na,One,5,1,word\n")
    (folder / "i.csv").write_text("sku,colour\nOne,red\n")
    columns = COLUMNS | {"title": "sku", "review": "text", "summary": "text"}
    _, interactions, items = read(columns=columns)
    assert interactions == [("a", "One", 5.0, 1, "word", "word")]
    assert items == [("One", "One", "red")]
    with pytest.raises(UserError, match=r"user_id and data\.columns\.item_id are the same column, 'sku'"):
        read(columns=COLUMNS | {"user_id": "sku"})


def test_the_items_may_call_a_column_otherwise(folder, read):
    (folder / "i.csv").write_text("id,name\n007,Ring\nb7,Book\n")
    with pytest.raises(UserError, match=r"i\.csv: no column 'sku' .*data\.item_columns\.item_id=id"):
        read()
    assert read(item_columns={"item_id": "id"})[2] == [("007", "Ring"), ("b7", "Book")]
    (folder / "i.csv").write_text("item_id,name\n007,Ring\nb7,Book\n")  # our own name is found, too
    assert read()[2] == [("007", "Ring"), ("b7", "Book")]


@pytest.mark.parametrize("taken", ["item", "Item", "line", "user"])
def test_an_attribute_called_as_a_column_of_ours_is_kept(folder, read, engine, taken):
    (folder / "i.csv").write_text(f"sku,name,{taken}\n007,Ring,x\nb7,Book,y\n")
    assert read()[2] == [("007", "Ring", "x"), ("b7", "Book", "y")]
    assert list(engine.columns("items"))[3] == (taken if taken == "user" else f"{taken}_")


def test_columns_of_an_index_are_no_attributes(folder, read, engine):
    (folder / "i.csv").write_text(",Unnamed: 0,sku,name\n0,0,007,Ring\n1,1,b7,Book\n")
    assert read()[2] == [("007", "Ring"), ("b7", "Book")]


def test_lists_are_attributes_and_no_titles(folder, read):
    frame = pl.DataFrame({"sku": ["007", "b7"], "name": ["Ring", "Book"], "tags": [["a", "b"], []], "n": [1.5, None]})
    frame.write_parquet(folder / "i.parquet")
    assert read(items="i.parquet")[2] == [("007", "Ring", "a|b", 1.5), ("b7", "Book", None, None)]
    with pytest.raises(UserError, match=r"i\.parquet: the column 'tags' is a VARCHAR\[\]: a text is wanted"):
        read(items="i.parquet", columns=COLUMNS | {"title": "tags"})


def test_users_have_attributes(folder, read, engine):
    (folder / "u.csv").write_text("customer,age\nann,30\nann,31\nzoe,7\n")
    said, *_ = read(users="u.csv")
    assert said.users == "users"
    assert engine.rows("SELECT user_id, age FROM users ORDER BY line") == [("ann", "31"), ("zoe", "7")]


# What is not there


def test_without_ratings_and_times(folder, read, engine):
    (folder / "r.csv").write_text("sku,customer\n007,ann\nb7,bob\n")
    nothing = r"data\.columns\.rating=null where there is none: then every row is a positive"
    with pytest.raises(UserError, match=nothing):
        read()
    in_order = r"data\.columns\.timestamp=null where there is none: then rows stand in the order of the file"
    with pytest.raises(UserError, match=in_order):
        read(columns=COLUMNS | {"rating": None})
    said, *_ = read(columns=COLUMNS | {"rating": None, "timestamp": None})
    columns = "user_id, item_id, rating, timestamp"
    assert engine.rows(f"SELECT {columns} FROM interactions ORDER BY line") == [
        ("ann", "007", 1.0, 0),
        ("bob", "b7", 1.0, 1),
    ]
    assert (said.rated, said.timed) == (False, False)
    assert said.remarks[0].text == "no timestamps: rows are taken in the order of the file"


def test_headless_files(folder, read):
    (folder / "r.csv").write_text("ann\t007\t4\t5\nbob\tb7\t2\t6\n")
    (folder / "i.csv").write_text("Ring,007\nBook,b7\n")
    with pytest.raises(UserError, match=r"line 1: looks like data, not like a header.*data\.reader\.header=false"):
        read(columns={})
    form = TextFormat(header=False)
    names = {"item_id": 2, "title": 1}
    _, interactions, items = read(columns={}, header=False, item_format=form, item_columns=names)
    assert interactions == [("ann", "007", 4.0, 5), ("bob", "b7", 2.0, 6)]
    assert items == [("007", "Ring"), ("b7", "Book")]
    columns = {"user_id": 2, "item_id": 1, "rating": 3, "timestamp": 4}
    assert read(columns=columns, header=False, items=None)[1][0] == ("007", "ann", 4.0, 5)
    with pytest.raises(UserError, match=r"has 4 columns: data\.columns\.rating=7 is none"):
        read(columns={"rating": 7}, header=False, items=None)


# Spelling of ids


def test_floats_of_pandas_and_blanks_are_taken_off(folder, read):
    (folder / "r.csv").write_text("customer,sku,stars,at\n 1.0 , 7.0 ,4,5\n2.0,8.0,4,5\n")
    (folder / "i.csv").write_text("sku,name\n7,Seven\n 8 ,Eight\n")
    _, interactions, items = read()
    assert [row[:2] for row in interactions] == [("1", "7"), ("2", "8")]
    assert items == [("7", "Seven"), ("8", "Eight")]


@pytest.mark.parametrize(("ours", "theirs"), [("007", "7"), ("B7", "b7"), ("12.0", "12")])
def test_two_spellings_of_an_id_are_refused(folder, read, ours, theirs):
    (folder / "r.csv").write_text(f"customer,sku,stars,at\nann,{ours},4,5\nann,other,4,5\n")
    (folder / "i.csv").write_text(f"sku,name\n{theirs},Seven\nother,Other\n")
    with pytest.raises(UserError, match=rf"1 of 2 items spelled otherwise .*{ours!r} where the items have {theirs!r}"):
        read()


def test_tables_that_have_no_item_in_common_are_refused(folder, read):
    (folder / "i.csv").write_text("sku,name\nx,Ex\n")
    with pytest.raises(UserError, match=r"has none of the interactions' 2 items \(such as '007'; it has 'x'"):
        read()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("", r"i\.csv: has a header and no rows: give a table with items, or leave out data\.items: then only CF"),
        (",Seven\n", r"i\.csv: no id in 1 row: give a table with items"),
    ],
)
def test_an_items_table_of_nothing_is_called_empty(folder, read, rows, words):
    (folder / "i.csv").write_text(f"sku,name\n{rows}")
    with pytest.raises(UserError, match=words):
        read()


def test_a_users_table_of_nothing_is_called_empty(folder, read):
    (folder / "u.csv").write_text("customer,age\n")
    with pytest.raises(UserError, match=r"u\.csv: has a header and no rows: give a table with users, or leave out"):
        read(users="u.csv")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('a,1,"1,234",5', r"line 4, column 'stars': rating is '1,234', .*: write it .* of thousands, 1234$"),
        ('a,1,5,"1,700,000,000"', r"column 'at': timestamp is '1,700,000,000', .* of thousands, 1700000000$"),
        ("a,1,1 234.5,5", r"rating is '1 234\.5', not a number: write it .* of thousands, 1234\.5$"),
    ],
)
def test_separators_of_thousands_are_refused(folder, read, row, words):
    (folder / "r.csv").write_text(f"customer,sku,stars,at\na,007,5,5\na,other,4,6\n{row}\n")
    with pytest.raises(UserError, match=words):
        read(time="seconds")
