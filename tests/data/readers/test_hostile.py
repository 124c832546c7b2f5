"""Tables that nobody should have: each is read, or refused in one line that says what and where."""

import datetime
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_lora.data.prepare import prepare
from recsys_lora.data.readers.amazon import AmazonReviews
from recsys_lora.data.readers.table import Tables
from recsys_lora.data.split import AmazonBookBenchmark, MovieLensBenchmark, UserTime
from recsys_lora.utils.errors import UserError

K = 40
"""Rows of a table that would be good but for what is put into row 4."""
USERS, ITEMS = [f"u{k % 4}" for k in range(K)], [f"i{k % 7}" for k in range(K)]
STARS, TIMES = [5.0 if k % 2 else 1.0 for k in range(K)], list(range(K))
NUMBERS = [float(k % 4) for k in range(K)]


def odd(values, value):
    """Return values with another one in row 4."""
    return [*values[:3], value, *values[4:]]


@pytest.fixture
def outcome(tmp_path):
    """Prepare a reader's tables; returns the data, or the one line that refuses them."""

    def of(reader, split=None):
        try:
            return prepare(reader, split or UserTime(0.6, 0.2), name="x", positive=4, out=tmp_path / "out")
        except UserError as error:
            line = str(error)
            assert line.splitlines() == [line]
            assert not list(tmp_path.glob(".*"))  # nothing half made
            return line

    return of


def check(found, words) -> None:
    if words is None:
        assert not isinstance(found, str), found
    else:
        assert isinstance(found, str), "it was read"
        assert words in found


NANOSECONDS = pa.array([datetime.datetime(2020, 1, 1, 0, 0, k) for k in range(K)], pa.timestamp("ns", tz="Asia/Tokyo"))


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("user_id", odd(NUMBERS, float("inf")), "row 4: user_id is 'inf', not a whole number"),
        ("user_id", odd(NUMBERS, float("nan")), "row 4: user_id is 'nan', not a whole number"),
        ("user_id", odd(NUMBERS, 1e300), "row 4: user_id is '1e+300', not a whole number"),
        ("user_id", odd(NUMBERS, 1.5), "row 4: user_id is '1.5', not a whole number"),
        ("user_id", odd(NUMBERS, 9007199254740994.0), None),
        ("user_id", [bool(k % 2) for k in range(K)], None),
        ("user_id", [b"u%d" % (k % 4) for k in range(K)], None),
        ("user_id", odd([b"u%d" % (k % 4) for k in range(K)], b"\xff"), "not text in UTF-8: correct"),
        ("user_id", [[k % 4] for k in range(K)], "the column 'user_id' is a BIGINT[]: ids are text or whole numbers"),
        ("user_id", [{"a": k % 4} for k in range(K)], "the column 'user_id' is a STRUCT(a BIGINT): ids are text"),
        ("user_id", pa.array(USERS).dictionary_encode(), None),
        ("user_id", [datetime.date(2020, 1, 1 + k % 4) for k in range(K)], None),
        ("user_id", pa.nulls(K), "no row is left (40 rows: user, item, rating, timestamp: one of them is missing)"),
        ("user_id", odd(USERS, ""), None),
        ("user_id", [["../../x", "a/b", "\x00", "c\nd"][k % 4] for k in range(K)], None),
        ("rating", [[1.0]] * K, "the column 'rating' is a DOUBLE[]: a rating is a number"),
        ("rating", [{"a": 1}] * K, "the column 'rating' is a STRUCT(a BIGINT): a rating is a number"),
        ("rating", [b"5"] * K, "the column 'rating' is a BLOB: a rating is a number"),
        ("rating", [bool(k % 2) for k in range(K)], "every row of the train split (24) is negative at data.positive=4"),
        ("rating", odd(STARS, 1e300), "row 4: rating is '1e+300', not a number"),
        ("rating", odd(STARS, float("inf")), "row 4: rating is 'inf', not a number"),
        ("rating", odd([int(star) for star in STARS], 2**63 - 1), None),
        ("timestamp", odd(TIMES, 2**63 - 1), "row 4: timestamp is '9223372036854775807', not a number of seconds"),
        ("timestamp", pa.array(odd(TIMES, 2**64 - 1), pa.uint64()), "row 4: timestamp is '18446744073709551615'"),
        ("timestamp", odd([float(k) for k in TIMES], 1e300), "row 4: timestamp is '1e+300', not a number of seconds"),
        ("timestamp", [datetime.time(1, 2, 3)] * K, "the column 'timestamp' is a TIME: a timestamp is"),
        ("timestamp", [[k] for k in TIMES], "the column 'timestamp' is a BIGINT[]: a timestamp is"),
        ("timestamp", NANOSECONDS, None),
    ],
)
def test_columns_of_interactions(tmp_path, outcome, column, values, words):
    table = {"user_id": USERS, "item_id": ITEMS, "rating": STARS, "timestamp": TIMES}
    pq.write_table(pa.table(table | {column: values}), tmp_path / "r.parquet")
    check(outcome(Tables("r.parquet", root=str(tmp_path))), words)


@pytest.mark.parametrize("split", [MovieLensBenchmark(), AmazonBookBenchmark()])
def test_times_beyond_the_calendar(tmp_path, outcome, split):
    table = {"user_id": USERS, "item_id": ITEMS, "rating": STARS, "timestamp": odd(TIMES, 2**63 - 1)}
    pq.write_table(pa.table(table), tmp_path / "r.parquet")
    check(outcome(Tables("r.parquet", root=str(tmp_path)), split), "row 4: timestamp is '9223372036854775807'")


def test_durations_that_pandas_wrote(tmp_path, outcome):
    table = pa.table({"user_id": USERS, "item_id": ITEMS, "rating": STARS, "timestamp": TIMES})
    columns = [{"name": "timestamp", "numpy_type": "timedelta64[ns]"}]
    table = table.replace_schema_metadata({b"pandas": json.dumps({"columns": columns}).encode()})
    pq.write_table(table, tmp_path / "r.parquet")
    check(outcome(Tables("r.parquet", root=str(tmp_path))), "the column 'timestamp' is a DURATION: a timestamp is")


IDS, TITLES = [f"i{k}" for k in range(7)], ["t"] * 7


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"title": [["a"]] * 7}, "i.parquet: the column 'title' is a VARCHAR[]: a text is wanted"),
        ({"title": [{"a": 1}] * 7}, "i.parquet: the column 'title' is a STRUCT(a BIGINT): a text is wanted"),
        ({"title": list(range(7))}, None),
        ({"title": [b"\xff\xfe"] * 7}, None),
        ({"title": pa.nulls(7)}, None),
        ({"item": ["x"] * 7}, None),
        ({"line": list(range(7)), "place": list(range(7)), "user": ["x"] * 7}, None),
        ({"year": [{"a": [1]}] * 7}, None),
        ({"item_id": [float("inf"), *map(float, range(6))]}, "row 1: item_id is 'inf', not a whole number"),
    ],
)
def test_columns_of_items(tmp_path, outcome, columns, words):
    table = {"user_id": USERS, "item_id": ITEMS, "rating": STARS, "timestamp": TIMES}
    pq.write_table(pa.table(table | {"split": USERS, "line": TIMES, "label": TIMES}), tmp_path / "r.parquet")
    pq.write_table(pa.table({"item_id": IDS, "title": TITLES} | columns), tmp_path / "i.parquet")
    check(outcome(Tables("r.parquet", "i.parquet", root=str(tmp_path))), words)


HEADER = "user_id,item_id,rating,timestamp\n"
GOOD = "".join(f"u{k % 4},i{k % 7},{5 if k % 2 else 1},{k}\n" for k in range(K))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (HEADER + GOOD.replace("u1", "u\x001"), None),
        (HEADER + GOOD.replace("u1", "=HYPERLINK(1)").replace("u2", "@SUM(1)"), None),
        (HEADER + GOOD + 'u"1,i"2,5,3\n', None),
        (HEADER + GOOD + 'u1,"i,5,3\n', "r.csv, after line 41: quotes are not closed"),
        (HEADER + GOOD + "u1,i1,5,1e400\n", "line 42: timestamp is '1e400', not a number of seconds"),
        (HEADER + GOOD + "u1,i1,5,-1e18\n", "line 42: timestamp is '-1e18', not a number of seconds"),
        (HEADER + GOOD + "u1,i1,\u0663,3\n", "line 42: rating is '\u0663', not a number"),
        (HEADER + GOOD.replace(",0\n", ",2020-02-30\n"), "line 2: timestamp is '2020-02-30', not a date"),
        (f"{HEADER}{GOOD}u1,{'x' * 200_000},5,3\nu1,i1,great,4\n", "line 43: rating is 'great', not a number"),
        ("user_id,user_id,item_id,rating,timestamp\n", "the header has 'user_id' more than once"),
    ],
)
def test_texts(tmp_path, outcome, content, words):
    (tmp_path / "r.csv").write_text(content)
    check(outcome(Tables("r.csv", root=str(tmp_path))), words)


def review(k, **more):
    return {"reviewerID": USERS[k], "asin": ITEMS[k], "overall": STARS[k], "unixReviewTime": k} | more


REVIEWS = [json.dumps(review(k)) for k in range(K)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[" * 100_000 + "]" * 100_000, "r.json, line 41: neither JSON nor a Python literal"),
        ('{"reviewerID": "a", "x": ' + "[" * 50_000 + "]" * 50_000 + "}", "line 41: neither JSON nor a Python literal"),
        (
            '{"reviewerID":"a","asin":"b","overall":5,"unixReviewTime":1e400}',
            "line 41, column 'unixReviewTime': timestamp is '1e400'",
        ),
        (
            '{"reviewerID":"a","asin":"b","overall":5,"unixReviewTime":1' + "0" * 30 + "}",
            "line 41, column 'unixReviewTime': timestamp is '1000",
        ),
        (
            '{"reviewerID":"a","asin":"b","overall":NaN,"unixReviewTime":1}',
            "line 41, column 'overall': rating is 'NaN', not a number",
        ),
        (
            '{"reviewerID":"a","asin":"b","overall":-Infinity,"unixReviewTime":1}',
            "line 41, column 'overall': rating is '-Infinity'",
        ),
        (
            '{"reviewerID":"a","asin":"b","overall":true,"unixReviewTime":true}',
            "line 41, column 'unixReviewTime': timestamp is 'true'",
        ),
        ('{"reviewerID":"\\ud800","asin":"b","overall":5,"unixReviewTime":1}', None),
        (json.dumps(review(1, unixReviewTime=10**18)), "line 41, column 'unixReviewTime': timestamp is '1000"),
        (json.dumps(review(1, reviewText="\ud800")), None),
        (json.dumps(review(1, reviewText={"a": 1}, summary=[1])), None),
        (json.dumps(review(1, reviewText="\x00")), None),
        ("{'reviewerID': __import__('os').system('touch CODE_RAN'), 'asin': 'b'}", "neither JSON nor a Python literal"),
        ("{'a': " + "(" * 300 + ")" * 300 + "}", "line 41: neither JSON nor a Python literal"),
        ("{'a': 9**9**9}", "line 41: neither JSON nor a Python literal"),
        ("{'reviewerID': b'a', 'asin': 'i1', 'overall': 5, 'unixReviewTime': 1}", None),
        ("{'reviewerID', 'asin'}", "line 41: a set where a record in braces should be"),
        ("5", "line 41: a int where a record in braces should be"),
        ('{"reviewerID": "a", "reviewerID": "u1", "asin": "i1", "overall": 5, "unixReviewTime": 1}', None),
    ],
)
def test_lines_of_reviews(tmp_path, outcome, monkeypatch, line, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.json").write_text("\n".join([*REVIEWS, line]) + "\n")
    check(outcome(AmazonReviews("r.json", root=str(tmp_path))), words)
    assert not (tmp_path / "CODE_RAN").exists()


@pytest.mark.parametrize(
    "more",
    [
        {"title": ["x", "<b>y"], "category": [["a", None], 3], "brand": {"z": 1}},
        {"asin": ["i1"]},
        {"categories": 5},
        {"category": [], "categories": {"a": 1}},
        {"title": "<a " * 300_000},
        {"title": "<script " * 60_000 + "x"},
        {"title": "\ud800"},
    ],
)
def test_records_of_items(tmp_path, outcome, more):
    (tmp_path / "r.json").write_text("\n".join(REVIEWS))
    items = [{"asin": item, "title": "x"} | (more if item == "i1" else {}) for item in IDS]
    (tmp_path / "m.json").write_text("\n".join(map(json.dumps, items)))
    data = outcome(AmazonReviews("r.json", "m.json", root=str(tmp_path)))
    check(data, None)
    assert data.titles[1:].count("x") >= 6
