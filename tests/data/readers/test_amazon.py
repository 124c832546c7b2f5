"""Amazon's files: the real Gift Cards, and dirty ones made up."""

import gzip
import json

import pytest

from recsys_lora.data.prepare import prepare
from recsys_lora.data.readers.amazon import AmazonReviews, has_markup, visible_text
from recsys_lora.data.readers.records import LINES_LOOKED_AT
from recsys_lora.data.split import AmazonBookBenchmark, LeaveLastOut
from recsys_lora.utils.errors import UserError

T2016, T2017 = 1_480_000_000, 1_490_000_000


def review(user, item, rating=5.0, when=T2017, **more):
    return {"reviewerID": user, "asin": item, "overall": rating, "unixReviewTime": when} | more


def read(reader, engine):
    """Return what a reader says, its interactions and its items (item_id, title, brand, category, price)."""
    tables = reader.read(engine)
    found = [engine.rows(f"SELECT * EXCLUDE (line) FROM {table} ORDER BY line") for table in ("interactions", "items")]
    return tables, *found


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


def test_columns_texts_and_attributes(write, tmp_path, engine):
    write("r.json", [review("A", "1", 4.0, T2016, reviewText="good", summary="yes"), review("B", "1")])
    write("m.json", [{"asin": "1", "title": "One", "brand": "Me", "category": ["Toys", "Games"], "price": "$3"}])
    _, interactions, items = read(AmazonReviews("r.json", "m.json", str(tmp_path)), engine)
    assert interactions == [("A", "1", 4.0, T2016, "good", "yes"), ("B", "1", 5.0, T2017, None, None)]
    assert items == [("1", "One", "Me", "Toys|Games", "$3")]


def test_2023_has_other_keys_and_milliseconds(write, tmp_path, engine):
    reviews = [
        {"rating": 4.0, "title": "yes", "text": "good", "asin": "1b", "parent_asin": "1", "user_id": "A"}
        | {"timestamp": T2016 * 1000 + 999},
    ]
    write("r.jsonl", reviews)
    write(
        "m.jsonl",
        [
            {"main_category": "X", "title": "One", "parent_asin": "1", "store": "Me", "price": 3.5}
            | {"categories": ["Toys", "Games"]}
        ],
    )
    _, interactions, items = read(AmazonReviews("r.jsonl", "m.jsonl", str(tmp_path)), engine)
    assert interactions == [("A", "1", 4.0, T2016, "good", "yes")]
    assert items == [("1", "One", "Me", "Toys|Games", "3.5")]


def test_ratings_only_of_2023_are_a_table(tmp_path, engine):
    (tmp_path / "r.csv").write_text(f"user_id,parent_asin,rating,timestamp\nA,1,4.0,{T2016}000\n")
    _, interactions, _ = read(AmazonReviews("r.csv", root=str(tmp_path)), engine)
    assert interactions == [("A", "1", 4.0, T2016)]


def test_meta_of_2014_are_python_literals(write, tmp_path, engine):
    write("r.json.gz", [review("A", "1"), review("A", "2")])
    meta = [{"asin": "1", "title": "It's", "categories": [["Books", "Fiction"]]}, {"asin": "2", "price": None}]
    meta += [{"asin": f"x{number}"} for number in range(LINES_LOOKED_AT)]
    meta.append({"asin": "unwanted", "title": object})  # what nobody wants is not even read
    write("m.json.gz", meta, dump=repr)
    _, _, items = read(AmazonReviews("r.json.gz", "m.json.gz", str(tmp_path), untitled="keep"), engine)
    assert items == [("1", "It's", None, "Books|Fiction", None), ("2", "", None, None, None)]


def test_without_meta_items_have_no_titles(write, tmp_path, engine):
    write("r.json", [review("A", "2"), review("A", "1")])
    assert read(AmazonReviews("r.json", root=str(tmp_path)), engine)[2] == [("2", None), ("1", None)]


def test_what_is_dropped_or_repaired_is_counted(write, tmp_path, engine):
    reviews = [review("A", item) for item in ("1", "2", "3", "4", "none")] + [{"asin": "1"}, review("", "1")]
    write("r.json", [*reviews, review("A", "1", when=T2016)])
    titles = {"1": "Old", "2": "<b>Bold</b> &amp; big", "3": "<script>x", "4": " ", "unwanted": "Unwanted"}
    write(
        "m.json", [{"asin": item, "title": title} for item, title in titles.items()] + [{"asin": "1", "title": "New"}]
    )
    tables, interactions, items = read(AmazonReviews("r.json", "m.json", str(tmp_path), years=[2017]), engine)
    assert [item for _, item, *_ in interactions] == ["1", "2"]
    assert [item[:2] for item in items] == [("2", "Bold & big"), ("1", "New")]  # the last record stands where it stands
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


def test_the_benchmark_keeps_titles_as_they_are(write, tmp_path, engine):
    write("r.json", [review("A", "1"), review("A", "2")])
    write("m.json", [{"asin": "1", "title": "<i>Dune</i> &amp;"}, {"asin": "2", "title": ""}])
    reader = AmazonReviews("r.json", "m.json", str(tmp_path), untitled="keep", html_titles="keep")
    assert [title for _, title, *_ in read(reader, engine)[2]] == ["<i>Dune</i> &amp;", ""]


def test_items_without_reviews_may_stay(write, tmp_path, engine):
    write("r.json", [review("A", "1")])
    for dump in (json.dumps, repr):
        write("m.json", [{"asin": "1", "title": "One"}, {"asin": "2", "title": "Two"}, {"asin": "3"}], dump)
        reader = AmazonReviews("r.json", "m.json", str(tmp_path), catalogue="all")
        assert [item for item, *_ in read(reader, engine)[2]] == ["1", "2"]


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
        ([review("A", "1", "great")], "line 1, column 'overall': rating is 'great', not a number"),
        (
            [review("A", "1"), review("A", "1", when="noon")],
            "line 2, column 'unixReviewTime': timestamp is 'noon', not a number",
        ),
        ([{"asin": "1", "title": "a meta file"}], "no review could be used .* is this a file of reviews"),
    ],
)
def test_what_cannot_be_used_is_refused(write, tmp_path, engine, records, words):
    write("r.json", records)
    with pytest.raises(UserError, match=words):
        AmazonReviews("r.json", root=str(tmp_path)).read(engine)


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


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ('<span id="productTitle" class="a-size-large">\n\nReason\n Magazine</span>', "Reason Magazine"),
        ("Applebee&#39;s &amp; Co", "Applebee's & Co"),
        ("<script>var aPageStart = (new Date()).getTime();</script>", ""),
        ("<style>a {b: c}</style>Vogue<br/>Italy", "Vogue Italy"),
        ('<span class="a-size-medium a-color-secondary', ""),
        ("<!-- hidden -->Time", "Time"),
        ("<script>never closed", ""),
    ],
)
def test_what_a_browser_would_show(title, text):
    assert visible_text(title) == text


@pytest.mark.parametrize("title", ["I <3 you", "a < b and c > d", "x<y", "R & B", "5 > 4", ""])
def test_text_with_angles_is_no_markup(title):
    assert not has_markup(title)
    assert visible_text(title) == title


def test_a_long_title_is_quick():
    assert visible_text("<a " * 20_000 + "end") is not None
