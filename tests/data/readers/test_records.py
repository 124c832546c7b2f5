"""Files of one record a line that are not strict JSON."""

import gzip
import json
import tracemalloc

import pytest

from recsys_lora.data.readers.records import keys_of, plain_records, record_place
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
