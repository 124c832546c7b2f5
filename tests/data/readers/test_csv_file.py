"""CSV files and their line numbers."""

import pytest

from recsys_lora.data.readers.csv_file import read_csv, row_place
from recsys_lora.errors import UserError


@pytest.fixture
def write(tmp_path):
    def to(content: bytes | str):
        path = tmp_path / "t.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return to


def test_quoted_fields_may_hold_anything(write):
    path = write('id,title\n1,"He said ""no"", and\nleft"\n2,\n3,x\n')
    table = read_csv(path, ",", "utf-8")
    assert table.rows() == [("1", 'He said "no", and\nleft'), ("2", None), ("3", "x")]
    assert [row_place(path, ",", "utf-8", row) for row in range(3)] == [f"{path}, line {n}" for n in (2, 4, 5)]


def test_latin_1(write):
    assert read_csv(write("a,b\n1,café\n".encode("latin-1")), ",", "latin-1")["b"][0] == "café"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("a,b\n", "has a header and no rows"),
        ("a,b\n1,2\n1,2,3\n", "line 3: 3 fields where the header has 2"),
        ("a,b\n1\n", "line 2: 1 fields where the header has 2"),
        ("a;b\n1;2\n", r"line 1: no ',' in 'a;b': say what separates fields, data.reader.separator"),
        ("a,b\n1,caf\xe9\n".encode("latin-1"), "line 2: byte 0xe9 is not utf-8"),
    ],
)
def test_what_cannot_be_read_is_named(write, content, words):
    with pytest.raises(UserError, match=f"t.csv.*{words}"):
        read_csv(write(content), ",", "utf-8")
