"""Files of one record a line that are not strict JSON."""

import ast
import gzip
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_lora.data.readers.records import keys_of, parse, plain_records, record_place
from recsys_lora.data.readers.source import open_part
from recsys_lora.utils.errors import UserError


@pytest.fixture
def part(tmp_path, engine):
    def of(content: bytes, name: str = "r.json"):
        path = tmp_path / name
        path.write_bytes(content)
        return open_part(path, engine, None, "data.reader.encoding")

    return of


def rewritten(part, tmp_path, keep=None):
    return [json.loads(line) for line in plain_records(part, tmp_path / "plain", keep).read_text().splitlines()]


MIXED = b"{\"asin\": \"1\", \"t\": null}\n\n{'asin': '2', 't': None, 'say': \"it's\"}\n{u'asin': u'3', 'x': (1, 2)}\n"


def test_json_and_python_literals_may_mix(part, tmp_path):
    file = part(gzip.compress(MIXED))
    records = [{"asin": "1", "t": None}, {"asin": "2", "t": None, "say": "it's"}, {"asin": "3", "x": [1, 2]}]
    assert rewritten(file, tmp_path) == records
    assert [record_place(file, row).rpartition(" ")[2] for row in range(3)] == ["1", "3", "4"]
    assert keys_of(file) == ["asin", "t", "say", "x"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.binary(max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(min_size=1), VALUES, min_size=1))
def test_a_literal_is_what_python_reads(record):
    assert parse(repr(record).encode(), Path("r"), 1) == record


@pytest.mark.parametrize(
    "line",
    [
        r"""{'a': 'b' 'c', 'd': '''it's''', 'e': 'x\n\x41\N{BULLET}'}""",
        r"""{'a': r'b\n', 'd': u'True, "None"', 'e': b'x'}""",
        r"""{'a': 0x10, 'b': 1_000, 'c': (1,), 'd': {'x'}, 'e': 1j,}""",
        r"""{'a': "b'c", 'd': 'e"f', 'g': 'h: None, False', 'i': None}  # 'end'""",
        r"""{'a': 'twice', 'a': -1e400}""",
    ],
)
def test_what_python_writes_otherwise_than_json(line):
    assert parse(line.encode(), Path("r"), 1) == ast.literal_eval(line)


def test_lines_that_nobody_wants_are_not_parsed(part, tmp_path):
    file = part(b"{'a': 1}\n{'a': this is nothing}\n")
    assert rewritten(file, tmp_path, keep=lambda line: b"nothing" not in line) == [{"a": 1}, {}]


def test_what_json_lacks_becomes_text(part, tmp_path):
    file = part(b'{"a": NaN, "b": -Infinity, "c": "\\ud800"}\n')
    assert rewritten(file, tmp_path) == [{"a": "nan", "b": "-inf", "c": "?"}]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"a": 1}\n{"a": \n', r"line 2: neither JSON nor a Python literal: '\{\"a\":'"),
        (b'{"a": 1}\n[1]\n', "line 2: a list where a record"),
        (b"__import__('os').getcwd()\n", "line 1: neither JSON nor"),
        (b'{"a": "\xe9"}\n', "line 1: not UTF-8"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "line 1: neither JSON nor"),
        (gzip.compress(b'{"a": 1}\n' * 9999)[:-30], "damaged or cut off"),
    ],
)
def test_what_cannot_be_read_is_named(part, tmp_path, content, words):
    with pytest.raises(UserError, match=f"r.json.*{words}"):
        rewritten(part(content), tmp_path)


def test_memory_does_not_grow_with_the_file(part, tmp_path):
    file = part(gzip.compress((b'{"text": "' + b"word " * 200 + b'"}\n') * 20_000, 1))  # 20 MB unpacked
    tracemalloc.start()
    plain_records(file, tmp_path / "plain")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5e6
