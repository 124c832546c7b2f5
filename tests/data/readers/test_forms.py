"""Rows in the form of public data sets, with the knobs that docs/adding_a_dataset.md names for each."""

import json
import re
from pathlib import Path

import duckdb
import pytest

from recsys_lora.data.readers.table import Tables
from recsys_lora.data.readers.text_format import TextFormat
from recsys_lora.utils.errors import UserError


@pytest.fixture
def read(tmp_path, engine):
    """Write files, read them with knobs; returns interactions and items as SQL rows of the columns asked for."""

    def of(files: dict[str, str | bytes], shown: str = "user_id, item_id, rating, timestamp", **knobs):
        for name, content in files.items():
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        Tables(root=str(tmp_path), **knobs).read(engine)
        return (
            engine.rows(f"SELECT {shown} FROM interactions ORDER BY line"),
            engine.rows("SELECT * EXCLUDE (line) FROM items ORDER BY line"),
        )

    return of


def dumped(*records, dump=json.dumps):
    return "".join(dump(record) + "\n" for record in records)


FORMS = {
    "RecBole: atomic files": (
        {
            "x.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t7\t4\t978300760\n",
            "x.item": 'item_id:token\tmovie_title:token_seq\tclass:token_seq\n7\t"Burbs", The\tComedy Crime\n',
        },
        {
            "columns": {
                "user_id": "user_id:token",
                "item_id": "item_id:token",
                "rating": "rating:float",
                "timestamp": "timestamp:float",
                "title": "movie_title:token_seq",
            }
        },
        [("1", "7", 4.0, 978300760)],
        [("7", '"Burbs", The', "Comedy Crime")],
    ),
    "Amazon: ratings without a header": (
        {"ratings_Books.csv": "AH2L9G3DQHHAJ,0000000116,4.0,1019865600\n"},
        {"header": False},
        [("AH2L9G3DQHHAJ", "0000000116", 4.0, 1019865600)],
    ),
    "Amazon 2018: items before users": (
        {"ratings_Books.csv": "0000000116,AH2L9G3DQHHAJ,4.0,1019865600\n"},
        {"header": False, "columns": {"user_id": 2, "item_id": 1}},
        [("AH2L9G3DQHHAJ", "0000000116", 4.0, 1019865600)],
    ),
    "Yelp": (
        {
            "review.json": dumped(
                {"user_id": "u", "business_id": "b", "stars": 3.0, "useful": 0, "text": "Fine."}
                | {"review_id": "r", "date": "2018-07-07 22:09:11"}
            ),
            "business.json": dumped(
                {"business_id": "b", "name": "Pizza", "categories": "Food, Pizza", "hours": {"Monday": "0:0-0:0"}}
            ),
        },
        {
            "columns": {"item_id": "business_id", "rating": "stars", "timestamp": "date", "review": "text"}
            | {"title": "name"}
        },
        [("u", "b", 3.0, 1531001351, "Fine.")],
        [("b", "Pizza", "Food, Pizza", '{"Monday":"0:0-0:0"}')],
    ),
    "Steam: Python literals, no ratings": (
        {
            "steam_reviews.json": "{u'username': u'Chaos Syren', u'hours': 0.1, u'product_id': u'725280', "
            "u'date': u'2017-12-17', u'text': u'It\\'s \"ok\"', u'early_access': False}\n",
            "steam_games.json": "{u'id': u'725280', u'app_name': u\"Lost Summoner's Kitty\", u'genres': [u'Action', "
            "u'Indie'], u'price': 4.99}\n",
        },
        {
            "columns": {"user_id": "username", "item_id": "product_id", "rating": None, "timestamp": "date"}
            | {"review": "text"},
            "item_columns": {"item_id": "id", "title": "app_name"},
        },
        [("Chaos Syren", "725280", 1.0, 1513468800, 'It\'s "ok"')],
        [("725280", "Lost Summoner's Kitty", "Action|Indie", "4.99")],
    ),
    "Goodreads: dates as C writes them": (
        {
            "interactions.json": dumped(
                {"user_id": "u", "book_id": "7", "rating": 5, "date_added": "Wed Aug 30 00:00:26 -0700 2017"}
            ),
            "books.json": dumped({"book_id": "7", "title": "Dune", "authors": [{"author_id": "1"}]}),
        },
        {"columns": {"item_id": "book_id", "timestamp": "date_added"}, "time": "%a %b %d %H:%M:%S %z %Y"},
        [("u", "7", 5.0, 1504076426)],
        [("7", "Dune", '{"author_id":"1"}')],
    ),
    "LastFM HetRec: play counts, no times": (
        {
            "user_artists.dat": "userID\tartistID\tweight\r\n2\t51\t13883\r\n",
            "artists.dat": "id\tname\turl\tpictureURL\r\n51\tDuran Duran\thttp\t\r\n",
        },
        {
            "columns": {"user_id": "userID", "item_id": "artistID", "rating": None, "timestamp": None},
            "item_columns": {"item_id": "id", "title": "name"},
        },
        [("2", "51", 1.0, 0)],
        [("51", "Duran Duran", "http", None)],
    ),
    "LastFM 1K: no header, ISO times": (
        {"plays.tsv": "user_1\t2009-05-04T23:08:57Z\tf1b1\tDeep Dish\t\tFuck Me Im Famous\n"},
        {"header": False, "columns": {"user_id": 1, "timestamp": 2, "item_id": 4, "rating": None}},
        [("user_1", "Deep Dish", 1.0, 1241478537)],
    ),
    "Taobao: four kinds of events, no header": (
        {"UserBehavior.csv": "1,2268318,2520377,pv,1511544070\n1,2333346,2520771,buy,1511561733\n"},
        {"header": False, "columns": {"rating": None, "timestamp": 5}, "where": {4: "buy"}},
        [("1", "2333346", 1.0, 1511561733)],
    ),
    "RetailRocket: three kinds of events": (
        {
            "events.csv": "timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n"
            "1433224214164,992329,addtocart,248676,\n143322,111016,transaction,3,4000\n"
        },
        {
            "columns": {"user_id": "visitorid", "item_id": "itemid", "rating": None},
            "where": {"event": ["addtocart", "transaction"]},
        },
        [("992329", "248676", 1.0, 1433224214), ("111016", "3", 1.0, 143)],
    ),
    "H&M: ids begin with zeros": (
        {
            "t.csv": "t_dat,customer_id,article_id,price,sales_channel_id\n2018-09-20,000058a1,0663713001,0.0508,2\n",
            "articles.csv": 'article_id,prod_name,detail_desc\n0663713001,Strap top,"Jersey, narrow"\n',
        },
        {
            "columns": {"user_id": "customer_id", "item_id": "article_id", "rating": None, "timestamp": "t_dat"}
            | {"title": "prod_name"}
        },
        [("000058a1", "0663713001", 1.0, 1537401600)],
        [("0663713001", "Strap top", "Jersey, narrow")],
    ),
    "Ali_Display_Ad: clicks are ratings of 0 and 1": (
        {"raw_sample.csv": "user,time_stamp,adgroup_id,pid,nonclk,clk\n581738,1494137644,1,430548_1007,1,0\n"},
        {"columns": {"user_id": "user", "item_id": "adgroup_id", "rating": "clk", "timestamp": "time_stamp"}},
        [("581738", "1", 0.0, 1494137644)],
    ),
    "Gowalla: no header, ISO times": (
        {"checkins.txt": "0\t2010-10-19T23:55:27Z\t30.2359091167\t-97.7951395833\t22847\n"},
        {"header": False, "columns": {"item_id": 5, "timestamp": 2, "rating": None}},
        [("0", "22847", 1.0, 1287532527)],
    ),
}
"""Files (interactions, items), knobs, and the rows they give: interactions (with their reviews) and items."""


@pytest.mark.parametrize("form", FORMS)
def test_a_public_form(read, form):
    files, knobs, interactions, *items = FORMS[form]
    shown = "user_id, item_id, rating, timestamp" + ", review" * ("review" in knobs.get("columns", {}))
    named = dict(zip(("interactions", "items"), files, strict=False))
    found = read(files, shown, **named, **knobs)
    assert [*found[: 1 + len(items)]] == [interactions, *items]


BOOKS = (
    '"ISBN";"Book-Title";"Book-Author";"Image"\r\n"034545104X";"Caf\xe9; Cr\xe8me";"A. B.";"http"\r\n'
    '"0155061224";"Rites \\"of\\" Passage";"C. D.";"http"\r\n'
)


def test_book_crossing_has_semicolons_latin_1_backslashes_zeros_and_no_times(read):
    knobs = {
        "interactions": "BX-Book-Ratings.csv",
        "items": "BX-Books.csv",
        "encoding": "latin-1",
        "columns": {
            "user_id": "User-ID",
            "item_id": "ISBN",
            "rating": "Book-Rating",
            "timestamp": None,
            "title": "Book-Title",
        },
    }
    ratings = '"User-ID";"ISBN";"Book-Rating"\r\n"276725";"034545104X";"0"\r\n"276726";"0155061224";"5"\r\n'
    files = {"BX-Book-Ratings.csv": ratings, "BX-Books.csv": BOOKS.encode("latin-1")}
    with pytest.raises(UserError, match=r"data\.reader\.item_format\.escape=backslash"):
        read(files, **knobs)
    interactions, items = read(files, escape="backslash", **knobs)
    assert interactions == [("276725", "034545104X", 0.0, 0), ("276726", "0155061224", 5.0, 1)]
    assert [row[1] for row in items] == ["Café; Crème", 'Rites "of" Passage']


def test_invoices_are_interactions_and_items(read):
    head = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
    rows = "536365,85123A,HEART HOLDER,6,12/1/2010 8:26,2.55,17850.0,UK\n536366,22633,,6,12/1/2010 8:28,1.85,,UK\n"
    interactions, items = read(
        {"retail.csv": head + rows},
        interactions="retail.csv",
        items="retail.csv",
        columns={
            "user_id": "CustomerID",
            "item_id": "StockCode",
            "rating": None,
            "timestamp": "InvoiceDate",
            "title": "Description",
        },
        time="%m/%d/%Y %H:%M",
    )
    assert interactions == [("17850", "85123A", 1.0, 1291191960)]
    assert [row[:2] for row in items] == [("85123A", "HEART HOLDER"), ("22633", None)]


def test_statements_of_the_documents_make_rows_of_what_has_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "behaviors.tsv").write_text('1\tU7\t11/11/2019 9:05:58 AM\tN1 "N2"\tN3-1 N4-0\n')
    (tmp_path / "combined_data_1.txt").write_text(
        "1:\n1488844,3,2005-09-06\n822109,5,2005-05-13\n2:\n822109,4,2005-09-05\n"
    )
    (tmp_path / "combined_data_2.txt").write_text("30:\n7,1,2005-09-06\n")
    (tmp_path / "train.txt").write_text("0 5 6 \n1 5\n2\n")
    text = (Path(__file__).parents[3] / "docs" / "adding_a_dataset.md").read_text()
    for statement in re.findall(r"```sql\n(.*?)```", text, re.DOTALL):
        duckdb.sql(statement)
    found = {name: duckdb.sql(f"SELECT * FROM '{name}.parquet'").fetchall() for name in ("mind", "netflix", "train")}
    when = "11/11/2019 9:05:58 AM"
    assert found["mind"] == [("U7", "N3", "1", when), ("U7", "N4", "0", when)]
    assert sorted(found["netflix"]) == [
        ("1488844", "1", "3", "2005-09-06"),
        ("7", "30", "1", "2005-09-06"),
        ("822109", "1", "5", "2005-05-13"),
        ("822109", "2", "4", "2005-09-05"),
    ]
    assert found["train"] == [("0", "5"), ("0", "6"), ("1", "5")]


def test_movielens_users_beside_items_in_other_formats(read, engine):
    read(
        {
            "ratings.dat": "1::7::5::978300760\n",
            "movies.dat": "7::Cité (1995)::Drama|War\n".encode("latin-1"),
            "users.csv": "user_id,age\n1,25\n",
        },
        interactions="ratings.dat",
        items="movies.dat",
        users="users.csv",
        header=False,
        item_format=TextFormat(encoding="latin-1", header=False),
    )
    assert engine.rows('SELECT item_id, title, "3" FROM items') == [("7", "Cité (1995)", "Drama|War")]
    assert engine.rows("SELECT user_id, age FROM users") == [("1", "25")]


@pytest.mark.parametrize(("yes", "no"), [("True", "false"), ("yes", "No"), ("T", "F"), ("y", "n"), ("1", "0")])
def test_likes_are_ratings(read, yes, no):
    content = f"user_id,item_id,rating,timestamp\na,1,{yes},5\na,2,{no},6\n"
    assert [row[2] for row in read({"r.csv": content}, interactions="r.csv")[0]] == [1.0, 0.0]


def test_ratings_with_a_decimal_comma(read):
    content = "user_id;item_id;rating;timestamp\na;1;4,5;5\na;2;10,25;6\na;3;3;7\n"
    assert [row[2] for row in read({"r.csv": content}, interactions="r.csv")[0]] == [4.5, 10.25, 3.0]
    with pytest.raises(UserError, match=r"line 5.*: rating is '1,000', not a number: write it .* of thousands, 1000$"):
        read({"r.csv": content + "a;4;1,000;8\n"}, interactions="r.csv")


def test_one_array_of_records(read):
    ratings = [{"user_id": "u", "item_id": 7, "rating": 5, "timestamp": 1500000000000}]
    things = [{"item_id": 7, "title": "Dune", "tags": ["a", "b"], "more": {"a": 1}}]
    files = {"r.json": json.dumps(ratings), "i.json": json.dumps(things, indent=2)}
    interactions, items = read(files, interactions="r.json", items="i.json")
    assert interactions == [("u", "7", 5.0, 1500000000)]
    assert items == [("7", "Dune", "a|b", '{"a":1}')]
    with pytest.raises(UserError, match=r"r\.json, record 2: rating is 'good', not a number"):
        read({"r.json": json.dumps([*ratings, ratings[0] | {"rating": "good"}])}, interactions="r.json")
    with pytest.raises(UserError, match=r"r\.json: not a readable JSON array"):
        read({"r.json": json.dumps(ratings)[:-3]}, interactions="r.json")
