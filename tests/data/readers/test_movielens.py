"""MovieLens in its formats; the two of 100K are written here from the same made-up rows."""

import gzip

import pytest

from recsys_lora.assets.fetch import Asset
from recsys_lora.data.prepare import prepare
from recsys_lora.data.readers import movielens
from recsys_lora.data.readers.movielens import MovieLens, MovieLens1M, MovieLens100K
from recsys_lora.data.split import GlobalTime, UserTime
from recsys_lora.utils.errors import UserError

RATINGS = ["196\t242\t3\t881250949", "186\t267\t5\t891717742", "22\t7\t1\t878887116"]
FLAGS = ["0"] * 19
COMEDY_DRAMA = [str(int(g in ("Comedy", "Drama"))) for g in movielens.GENRES_100K]
UNKNOWN = [str(int(g == "unknown")) for g in movielens.GENRES_100K]
PUBLISHER = [
    "|".join(["242", "Misérables, Les (1995) ", "01-Jan-1995", "", "http://x", *COMEDY_DRAMA]),
    "|".join(["267", "unknown", "", "", "", *UNKNOWN]),
    "|".join(["7", "Land Before Time III (1995) (V)", "01-Jan-1995", "", "http://x", *COMEDY_DRAMA]),
]
PACKAGE = [
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq",
    "242\tMisérables, Les\t1995\tComedy Drama",
    "267\tunkonwn\tunkonwn\tunknown",
    "7\tLand Before Time III (1995)\tV\tComedy Drama",
]
HEADER = "user_id:token\titem_id:token\trating:float\ttimestamp:float"


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Both formats, unverified: made-up files cannot have the real checksums."""
    asset = Asset("ml_100k", ({"u.data": None, "u.item": None}, {"ml-100k.inter": None, "ml-100k.item": None}), "there")
    monkeypatch.setattr(movielens, "ML_100K", asset)
    publisher, package = tmp_path / "publisher", tmp_path / "package"
    publisher.mkdir()
    package.mkdir()
    (publisher / "u.data").write_text("\n".join(RATINGS) + "\n")
    (publisher / "u.item").write_bytes(("\n".join(PUBLISHER) + "\n\n").encode("latin-1"))
    (package / "ml-100k.inter").write_text("\n".join([HEADER, *RATINGS]) + "\n")
    (package / "ml-100k.item.gz").write_bytes(gzip.compress(("\n".join(PACKAGE) + "\n").encode()))
    return publisher, package


def read(reader, engine):
    reader.read(engine)
    interactions, items = (
        engine.rows(f"SELECT * EXCLUDE (line) FROM {table} ORDER BY line") for table in ("interactions", "items")
    )
    return interactions, items


def test_both_formats_of_100k_give_the_same_tables(folders, engine):
    publisher, package = (read(MovieLens100K(folder), engine) for folder in folders)
    assert publisher == package
    assert publisher[0][0] == ("196", "242", 3.0, 881250949)
    assert publisher[1] == [
        ("242", "Misérables, Les (1995)", 1995, "Comedy|Drama"),
        ("267", "unknown", None, "unknown"),
        ("7", "Land Before Time III (1995) (V)", 1995, "Comedy|Drama"),
    ]


def test_a_broken_rating_names_file_and_line(folders, engine):
    (folders[0] / "u.data").write_text("1\t2\t3\t4\n1\t2\tfive\t4\n")
    with pytest.raises(UserError, match=r"u\.data, line 2, column '3': rating is 'five'"):
        MovieLens100K(folders[0]).read(engine)
    (folders[1] / "ml-100k.inter").write_text(f"{HEADER}\n1\t2\t3\tnoon\n")
    with pytest.raises(UserError, match=r"ml-100k\.inter, line 2, column 'timestamp:float': timestamp is 'noon'"):
        MovieLens100K(folders[1]).read(engine)


def test_somebody_elses_100k_is_refused_by_checksum(tmp_path, engine):
    (tmp_path / "u.data").write_text("1\t2\t3\t4\n")
    (tmp_path / "u.item").write_text("1|x\n")
    with pytest.raises(UserError, match=r"u\.data: wrong checksum: SHA-256 06416e59\S+ was expected, \S+ came"):
        MovieLens100K(tmp_path).read(engine)


def test_1m_without_its_files_says_what_to_put_where(tmp_path):
    with pytest.raises(UserError, match=f"ratings.dat and movies.dat in {tmp_path}: get them from https://files"):
        MovieLens1M(tmp_path).files()
    with pytest.raises(UserError, match="home/assets/ml_1m"):
        MovieLens1M().files()


def test_1m_reads_latin_1_titles_and_gzipped_ratings(tmp_path, engine):
    (tmp_path / "ratings.dat.gz").write_bytes(gzip.compress(b"1::2::5::978300760\n"))
    (tmp_path / "movies.dat").write_bytes("2::Cité (1995)::Drama|War\n".encode("latin-1"))
    assert read(MovieLens1M(tmp_path), engine) == (
        [("1", "2", 5.0, 978300760)],
        [("2", "Cité (1995)", 1995, "Drama|War")],
    )


def test_10m_has_two_colons_half_stars_and_quotes_in_titles(tmp_path, engine):
    (tmp_path / "ratings.dat").write_text("1::2::3.5::978300760\n1::7::5::838985046\n")
    (tmp_path / "movies.dat").write_text('2::"Great Performances" Cats (1998)::Musical\n7::Cité: a "b" (1995)::Drama\n')
    interactions, items = read(MovieLens(tmp_path), engine)
    assert interactions == [("1", "2", 3.5, 978300760), ("1", "7", 5.0, 838985046)]
    assert items == [
        ("2", '"Great Performances" Cats (1998)', 1998, "Musical"),
        ("7", 'Cité: a "b" (1995)', 1995, "Drama"),
    ]


def test_20m_to_32m_and_latest_are_csv_with_quotes(tmp_path, engine):
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,11,4.0,964982703\n")
    (tmp_path / "movies.csv").write_text(
        'movieId,title,genres\n11,"American President, The (1995)",Comedy|Drama\n12,"""Hi"" (2001)",(none)\n'
    )
    interactions, items = read(MovieLens(tmp_path), engine)
    assert interactions == [("1", "11", 4.0, 964982703)]
    assert items == [
        ("11", "American President, The (1995)", 1995, "Comedy|Drama"),
        ("12", '"Hi" (2001)', 2001, "(none)"),
    ]
    (tmp_path / "movies.csv").write_bytes(b"movieId,title,genres\n11,Caf\xe9,x\n")
    with pytest.raises(UserError, match=r"movies\.csv, line 2: byte 0xe9 is not utf-8: download the file again"):
        read(MovieLens(tmp_path), engine)
    with pytest.raises(UserError, match=r"neither ratings\.csv and movies\.csv nor"):
        MovieLens(tmp_path / "none").files()
    with pytest.raises(UserError, match=r"data\.root=FOLDER has to be given"):
        MovieLens().files()


@pytest.mark.network
def test_100k_is_fetched_verified_and_split(tmp_path):
    data = prepare(MovieLens100K(), UserTime(), name="ml_100k", positive=4, out=tmp_path / "user")
    assert [record["rows"] for record in data.manifest["splits"]] == [80_367, 10_037, 9_596]
    assert (data.num_users, data.num_items) == (943, 1682)
    ties = data.interactions.select("user", "timestamp").is_duplicated().mean()
    assert ties == pytest.approx(0.76, abs=0.01)
    by_time = prepare(MovieLens100K(), GlobalTime(), name="ml_100k", positive=4, out=tmp_path / "global")
    users = set(by_time.rows("train").user.tolist())
    known = [user in users for user in by_time.rows("test").user.tolist()]
    assert sum(known) / len(known) == pytest.approx(0.14, abs=0.01)
