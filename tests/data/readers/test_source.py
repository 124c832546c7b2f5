"""Files in any packing, in parts, in any encoding, with any separator: what can be read gives the same rows."""

import bz2
import gzip
import io
import lzma
import pickle
import zipfile
from functools import partial

import polars as pl
import pytest

from recsys_lora.data.readers.packed import zstd
from recsys_lora.data.readers.source import files_of
from recsys_lora.data.readers.table import Tables
from recsys_lora.data.readers.text_format import TextFormat
from recsys_lora.utils.errors import UserError

HEADER = ("user_id", "item_id", "rating", "timestamp")
ROWS = [("ann", "7", 4.5, 10), ("bób", "8", 2.0, 11), ("cy", "7", 1.0, 12)]


def lines(separator=",", rows=ROWS, header=True, end="\n"):
    table = [HEADER, *rows] if header else rows
    return end.join(separator.join(map(str, row)) for row in table) + end


@pytest.fixture
def read(tmp_path, engine):
    """Write the interactions and read them."""

    def of(content: str | bytes | None = None, name: str = "r.csv", rows=True, **knobs):
        if content is not None:
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        Tables(name, root=str(tmp_path), time="seconds", **knobs).read(engine)
        return engine.rows("SELECT user_id, item_id, rating, timestamp FROM interactions ORDER BY line")

    return of


def zipped(content: bytes, *names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names or ("r.csv",):
            archive.writestr(name, content)
    return buffer.getvalue()


gz = partial(gzip.compress, mtime=0)  # the same bytes in every process: they name tests
PACKINGS = {"gz": gz, "bz2": bz2.compress, "xz": lzma.compress, "zip": zipped, "zst": zstd.compress}


@pytest.mark.parametrize("named", ["csv", "whatever", "parquet.gz"])
@pytest.mark.parametrize("packing", PACKINGS)
def test_a_packing_is_told_by_its_first_bytes(read, packing, named):
    assert read(PACKINGS[packing](lines().encode()), f"r.{named}") == ROWS


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"\n \r\n", "the file is empty"),
        (gz(b""), "the file is empty"),
        (gz(lines().encode() * 999)[:-20], "damaged or cut off"),
        (gz(lines().encode()) + b"and more", "damaged or cut off"),
        (bz2.compress(lines().encode() * 999)[:-20], "damaged or cut off"),
        (lzma.compress(lines().encode() * 999)[:-20], "damaged or cut off"),
        (zstd.compress(lines().encode() * 999)[:-20], "damaged or cut off"),
        (b"PK\x03\x04 no archive", "damaged or cut off"),
        (gz(gz(b"a")), "packed twice"),
        (zipped(b"a", "a.csv", "b.csv"), r"a zip archive of 2 files \(a.csv, b.csv\): unpack it and name one"),
        (b"ARROW1\x00\x00", r"an Arrow \(Feather\) file: write it as Parquet, CSV or JSON lines"),
        (gz(b"SQLite format 3\x00"), "a SQLite database: write it as"),
        (pickle.dumps({"a": 1}), "a Python pickle: write it as"),
        (zipped(b"a", "[Content_Types].xml", "xl/workbook.xml"), "an Excel file: write it as"),
        (gz(b"\x00" * 257 + b"ustar" + b"\x00" * 300 + b"a"), "a tar archive: unpack it first"),
    ],
)
def test_what_cannot_be_unpacked_is_said(read, content, words):
    with pytest.raises(UserError, match=rf"r\.csv.*{words}"):
        read(content)


def test_parquet_under_any_name_packed_and_in_a_folder_of_parts(tmp_path, read):
    frame = pl.DataFrame(ROWS, HEADER, orient="row")
    frame.write_parquet(tmp_path / "r.pq")
    assert read(name="r.pq") == ROWS
    assert read(gzip.compress((tmp_path / "r.pq").read_bytes()), "r.gz") == ROWS
    folder = tmp_path / "r.parquet"
    folder.mkdir()
    (folder / "_SUCCESS").touch()
    (folder / ".part.crc").write_text("x")
    for number, part in enumerate((frame[:2], frame[2:])):
        part.write_parquet(folder / f"part-{number}.snappy.parquet")
    assert read(name="r.parquet") == ROWS
    assert list(Tables(str(folder)).files()) == ["interactions.0", "interactions.1"]


def test_parts_of_text_may_be_packed_and_name_their_lines(tmp_path, read):
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "1.csv").write_text(lines(rows=ROWS[:1]))
    (folder / "2.csv").write_bytes(gzip.compress(lines(rows=ROWS[1:]).encode()))
    assert read(name="parts") == ROWS
    (folder / "2.csv").write_text(lines(rows=[*ROWS[1:], ("d", "7", "good", 1)]))
    with pytest.raises(UserError, match=r"2\.csv, line 4: rating is 'good'"):
        read(name="parts")
    (folder / "2.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"2\.csv: has the columns a, b where 1\.csv has user_id, item_id"):
        read(name="parts")


def test_folders_and_links_without_files(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: a folder without files: correct data\.items"):
        files_of(tmp_path / "empty", "data.items")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UserError, match=r"loop: .* correct data\.items"):
        files_of(tmp_path / "loop", "data.items")


# Encodings and line ends


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1250", "utf-32"])
def test_encodings(read, encoding):
    told = None if encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32") else encoding  # a byte order mark tells
    assert read(lines().encode(encoding), encoding=told) == ROWS
    assert read(lines().encode(encoding), encoding=encoding) == ROWS


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("blank", [False, True])
def test_line_ends(read, end, blank):
    assert read(lines(end=end) + f"{end} {end}{end}" * blank) == ROWS
    assert read(lines("\t", end=end) + f"{end} {end}{end}" * blank) == ROWS


def test_mixed_line_ends(read):
    assert read(lines(end="\r\n") + lines(rows=ROWS, header=False)) == ROWS * 2


def test_a_wrong_encoding_names_the_line_and_what_to_say(read):
    with pytest.raises(UserError, match=r"r\.csv, line 3: byte 0xf3 is not utf-8: .*data\.reader\.encoding=latin-1"):
        read(lines().encode("latin-1"))
    with pytest.raises(UserError, match=r"r\.csv, line 3: byte 0xc3 is not ascii"):
        read(lines(), encoding="ascii")
    with pytest.raises(UserError, match=r"not utf-16"):
        read(lines() + "odd", encoding="utf-16")
    for unknown in ("klingon", "rot13", "hex"):
        with pytest.raises(UserError, match=f"data.reader.encoding={unknown}: no such encoding"):
            read(lines(), encoding=unknown)


# Separators, quotes, headers


@pytest.mark.parametrize("separator", [",", "\t", ";", "|", "::"])
def test_usual_separators_are_found_out(read, separator):
    assert read(lines(separator)) == ROWS


@pytest.mark.parametrize(("told", "separator"), [("\\t", "\t"), ("tab", "\t"), ("::", "::"), ("~", "~"), ("¦", "¦")])
def test_separators_as_people_write_them(read, told, separator):
    assert read(lines(separator), separator=told) == ROWS


def test_blanks_around_fields_are_taken_off(read):
    assert read(lines(", ")) == ROWS


@pytest.mark.parametrize(
    ("knobs", "content", "words"),
    [
        ({"separator": ""}, None, "one to 4 bytes"),
        ({"separator": ";"}, None, r"line 1: no ';' in 'user_id,item_id,.*data\.reader\.separator"),
        ({"separator": "::", "quote": "double"}, lines("::"), "only with a separator of one character"),
        ({}, "word\nword\n", "line 1: none of , tab ; | :: in 'word'"),
        ({}, lines().replace("timestamp", "item_id"), "the header has 'item_id' more than once"),
        ({}, lines(header=False), "line 1: looks like data, not like a header"),
    ],
)
def test_formats_that_cannot_be(read, knobs, content, words):
    with pytest.raises(UserError, match=words):
        read(content or lines(), **knobs)


QUOTED = 'item_id{0}title\n7{0}"He said ""no""{0} and\nleft"\n8{0}Plain "8"\n'
BACKSLASH = 'item_id;title\n7;"Real \\"Q. Example\\" Through; & Beyond"\n8;Plain\n'
TABS = 'item_id\ttitle\n7\t"Great Performances" Cats\n8\t"burbs, The\n'


@pytest.fixture
def titles(tmp_path, engine):
    def of(content: str, name: str = "i.csv", **knobs):
        (tmp_path / "r.csv").write_text(lines())
        (tmp_path / name).write_text(content)
        form = TextFormat(**knobs)
        Tables("r.csv", name, root=str(tmp_path), time="seconds", item_format=form).read(engine)
        return [title for (title,) in engine.rows("SELECT title FROM items ORDER BY line")]

    return of


@pytest.mark.parametrize("separator", [",", ";", "|"])
def test_quoted_fields_may_hold_anything(titles, separator):
    assert titles(QUOTED.format(separator)) == [f'He said "no"{separator} and\nleft', 'Plain "8"']


def test_quotes_behind_backslashes_are_read_or_refused(titles):
    with pytest.raises(UserError, match=r"after line 1: quotes .*data\.reader\.item_format\.escape=backslash"):
        titles(BACKSLASH)
    assert titles(BACKSLASH, escape="backslash") == ['Real "Q. Example" Through; & Beyond', "Plain"]


@pytest.mark.parametrize("name", ["i.tsv", "i.csv", "i.item"])
def test_files_of_tabs_have_no_quoting(titles, name):
    assert titles(TABS, name) == ['"Great Performances" Cats', '"burbs, The']
    assert titles(QUOTED.format("\t"), name, quote="double") == ['He said "no"\t and\nleft', 'Plain "8"']


def test_tabs_between_fields_that_all_stand_in_quotes(titles):
    assert titles('"item_id"\t"title"\n"7"\t"He said ""no"""\n') == ['He said "no"']


def test_quoting_can_be_turned_off(titles):
    assert titles('item_id,title\n7,"Seven\n8,Eight"\n', quote="none") == ['"Seven', 'Eight"']


def test_very_long_fields_and_very_many_columns(read):
    long = lines() + f"{'x' * 5_000_000},7,4,13\n"
    assert len(read(long)) == 4
    with pytest.raises(UserError, match=r"line 5: rating is '9{60}', not a number"):
        read(lines() + f"d,7,{'9' * 1_000_000},13\n")
    wide = "\n".join(line + "," * 5_000 for line in lines().splitlines())
    assert read(wide) == ROWS
