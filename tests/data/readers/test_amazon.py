"""Amazon's files: the real Gift Cards, and dirty ones made up."""

import gzip
import json

import pytest

from recsys_lora.data.prepare import prepare
from recsys_lora.data.readers.amazon import AmazonReviews
from recsys_lora.data.split import AmazonBookBenchmark, LeaveLastOut
from recsys_lora.errors import UserError

T2016, T2017 = 1_480_000_000, 1_490_000_000


def review(user, item, rating=5.0, when=T2017, **more):
    return {"reviewerID": user, "asin": item, "overall": rating, "unixReviewTime": when} | more


@pytest.fixture
def write(tmp_path):
    def to(name, records, dump=json.dumps):
        content = "".join(dump(record) + "\n" for record in records).encode()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)

    return to


def test_gift_cards(raw_data, tmp_path):
    reader = AmazonReviews("Gift_Cards_5.json.gz", "meta_Gift_Cards.json.gz", root=str(raw_data / "amazon2018"))
    data = prepare(reader, LeaveLastOut(), name="gift", positive=5, duplicates="exact", out=tmp_path / "out")
    assert (len(data.interactions), data.num_users, data.num_items) == (2_972, 458, 148)
    assert all(data.titles[1:])
    assert {"review", "summary"} <= set(data.interactions.columns)
    assert [record["rows"] for record in data.manifest["splits"]] == [2_056, 458, 458]


def test_columns_texts_and_attributes(write, tmp_path):
    write("r.json", [review("A", "1", 4.0, T2016, reviewText="good", summary="yes"), review("B", "1")])
    write("m.json", [{"asin": "1", "title": "One", "brand": "Me", "category": ["Toys", "Games"]}])
    tables = AmazonReviews("r.json", "m.json", str(tmp_path)).read()
    assert tables.interactions.rows() == [("A", "1", 4.0, T2016, "good", "yes"), ("B", "1", 5.0, T2017, None, None)]
    assert tables.items.rows() == [("1", "One", "Me", "Toys|Games")]


def test_meta_of_2014_are_python_literals(write, tmp_path):
    write("r.json.gz", [review("A", "1"), review("A", "2")])
    meta = [{"asin": "1", "title": "It's", "categories": [["Books", "Fiction"]]}, {"asin": "2", "price": None}]
    write("m.json.gz", meta, dump=repr)
    tables = AmazonReviews("r.json.gz", "m.json.gz", str(tmp_path), untitled="keep").read()
    assert tables.items.rows() == [("1", "It's", None, "Books|Fiction"), ("2", "", None, None)]


def test_without_meta_items_have_no_titles(write, tmp_path):
    write("r.json", [review("A", "2"), review("A", "1")])
    assert AmazonReviews("r.json", root=str(tmp_path)).read().items.rows() == [("2", None), ("1", None)]


def test_what_is_dropped_or_repaired_is_counted(write, tmp_path):
    reviews = [review("A", item) for item in ("1", "2", "3", "4", "none")] + [{"asin": "1"}, review("", "1")]
    write("r.json", [*reviews, review("A", "1", when=T2016)])
    titles = {"1": "Old", "2": "<b>Bold</b> &amp; big", "3": "<script>x", "4": " ", "unwanted": "Unwanted"}
    write(
        "m.json", [{"asin": item, "title": title} for item, title in titles.items()] + [{"asin": "1", "title": "New"}]
    )
    tables = AmazonReviews("r.json", "m.json", str(tmp_path), years=[2017]).read()
    assert tables.interactions["item_id"].to_list() == ["1", "2"]
    assert dict(tables.items.select("item_id", "title").rows()) == {"2": "Bold & big", "1": "New"}
    assert tables.items["item_id"].to_list() == ["2", "1"]  # the last record stands where it stands
    assert {drop.reason: drop.rows for drop in tables.dropped} == {
        "without reviewerID, asin, overall or unixReviewTime": 2,
        "of another year": 1,
        "the item has no record in the meta file": 1,
        "the item has no title": 2,
    }
    assert {remark.text: remark.count for remark in tables.remarks} == {
        "titles held HTML, the text was taken out of it": 1,
        "titles were HTML without text": 1,
        "records without a title": 2,
        "items with more than one record: the last one counts": 1,
    }


def test_the_benchmark_keeps_titles_as_they_are(write, tmp_path):
    write("r.json", [review("A", "1"), review("A", "2")])
    write("m.json", [{"asin": "1", "title": "<i>Dune</i> &amp;"}, {"asin": "2", "title": ""}])
    tables = AmazonReviews("r.json", "m.json", str(tmp_path), untitled="keep", html_titles="keep").read()
    assert tables.items["title"].to_list() == ["<i>Dune</i> &amp;", ""]


def test_files_are_found_packed_or_not(write, tmp_path):
    write("Books_5.json", [review("A", "1")])
    files = AmazonReviews("Books_5.json.gz", root=str(tmp_path)).files()
    assert files == {"reviews": tmp_path / "Books_5.json"}


def test_missing_files_are_named_with_source_and_folder(tmp_path):
    with pytest.raises(
        UserError, match=r"Books_5.json.gz and meta_Books.json.gz: not in .*home/assets/amazon_book: get"
    ):
        AmazonReviews("Books_5.json.gz", "meta_Books.json.gz", asset="amazon_book").files()
    with pytest.raises(UserError, match=r"correct data.reviews and data.meta"):
        AmazonReviews(str(tmp_path / "x.json")).files()
    with pytest.raises(UserError, match=r"no file of reviews is named: data\.reviews=FILE"):
        AmazonReviews().files()


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([review("A", "1", "great")], "line 1: overall 'great'"),
        ([review("A", "1"), review("A", "1", when="noon")], "line 2: .*unixReviewTime 'noon'"),
        ([{"asin": "1", "title": "a meta file"}], "no review could be used .* is this a file of reviews"),
    ],
)
def test_what_cannot_be_used_is_refused(write, tmp_path, records, words):
    write("r.json", records)
    with pytest.raises(UserError, match=words):
        AmazonReviews("r.json", root=str(tmp_path)).read()


def test_amazon_book_from_raw_files(write, tmp_path):
    """The reader's year filter and the split's rule together, on 24 users and books with a row each day."""
    start = 1_511_600_000  # 2017-11-25
    rows = [
        review(f"U{u}", f"B{b}", 3.0 + (u + b) % 3, start + (u * 5 + b) % 31 * 86_400)
        for u in range(24)
        for b in range(24)
    ]
    write("Books_5.json.gz", [review("U0", "B0", when=T2016), *rows, review("U0", "gone")])
    write("meta_Books.json.gz", [{"asin": f"B{b}", "title": f"Book {b}"} for b in reversed(range(24))])
    reader = AmazonReviews(
        "Books_5.json.gz", "meta_Books.json.gz", str(tmp_path), years=[2017], text=False, untitled="keep"
    )
    data = prepare(reader, AmazonBookBenchmark(), name="amazon_book", positive=5, out=tmp_path / "out")
    train, valid, test = (data.rows(split) for split in ("train", "valid", "test"))
    assert len(train) + len(valid) + len(test) == 24 * 24
    assert abs(len(valid) - len(test)) <= 1
    assert train.timestamp.max() < valid.timestamp.min() <= valid.timestamp.max() <= test.timestamp.min()
    assert data.raw_item_ids[1] == "B23"
    assert len(data.sample("valid", "published", 0)) == round(len(valid) / 4)
    assert [drop["reason"] for drop in data.manifest["dropped"]][:2] == [
        "of another year",
        "the item has no record in the meta file",
    ]
