"""Plain and gzipped files, encodings, broken lines."""

import gzip

import polars as pl
import pytest

from recsys_lora.data.readers.text import decode, numbers, read_bytes, split_lines
from recsys_lora.errors import UserError


def test_gzip_is_told_by_content_not_by_name(tmp_path):
    plain, packed = tmp_path / "a.gz", tmp_path / "b.dat"
    plain.write_bytes(b"some text")
    packed.write_bytes(gzip.compress(b"some text"))
    assert read_bytes(plain) == read_bytes(packed) == b"some text"


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is empty"), (b"\n \n", "is empty"), (gzip.compress(b"some text" * 99)[:-20], "damaged or cut off")],
)
def test_empty_and_cut_off_files_are_refused(tmp_path, content, words):
    path = tmp_path / "ratings.dat"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"ratings.dat.*{words}"):
        read_bytes(path)


def test_a_wrong_encoding_names_the_line(tmp_path):
    with pytest.raises(UserError, match=r"x\.csv, line 2: byte 0xe9 is not utf-8: .*data.reader.encoding=latin-1"):
        decode("one\ncafé".encode("latin-1"), "utf-8", tmp_path / "x.csv")
    with pytest.raises(UserError, match="encoding=klingon: no such encoding"):
        decode(b"one", "klingon", tmp_path / "x.csv")


def test_a_byte_order_mark_is_not_text(tmp_path):
    assert decode("\ufeffuser".encode(), "utf-8", tmp_path) == "user"


def test_lines_split_at_a_separator_of_two_letters(tmp_path):
    table = split_lines("1::a b::x\r\n\n2::c:d::\n", "::", ("id", "name", "rest"), tmp_path)
    assert table.rows() == [("1", "a b", "x"), ("2", "c:d", "")]


def test_a_line_with_too_few_fields_is_named(tmp_path):
    with pytest.raises(UserError, match=r"r\.dat, line 3: 2 fields where 3 \(a, b, c\)"):
        split_lines("1|2|3\n\n1|2\n", "|", ("a", "b", "c"), tmp_path / "r.dat")


@pytest.mark.parametrize("bad", ["x", "", "nan", "inf"])
def test_what_is_no_number_is_named(bad):
    table = pl.DataFrame({"rating": ["1", " 2.5 ", bad]})
    with pytest.raises(UserError, match=f"row 2: rating is '{bad}', not a number"):
        numbers(table, "rating", pl.Float32(), lambda row: f"row {row}")


def test_large_integers_stay_exact_and_floats_are_taken():
    table = pl.DataFrame({"timestamp": ["9007199254740993", "12.0"]})
    assert numbers(table, "timestamp", pl.Int64(), str).to_list() == [9007199254740993, 12]
