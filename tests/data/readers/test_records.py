"""Streams of records."""

import gzip
import tracemalloc

import pytest

from recsys_lora.data.readers.records import records
from recsys_lora.errors import UserError


def test_json_and_python_literals_may_mix(tmp_path):
    path = tmp_path / "meta.json.gz"
    path.write_bytes(gzip.compress(b"{\"asin\": \"1\", \"t\": null}\n\n{'asin': '2', 't': None, 'say': \"it's\"}\n"))
    assert list(records(path)) == [(1, {"asin": "1", "t": None}), (3, {"asin": "2", "t": None, "say": "it's"})]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b'{"a": 1}\n{"a": \n', r"line 2: neither JSON nor a Python literal: '\{\"a\":'"),
        (b'{"a": 1}\n[1]\n', "line 2: a list where a record"),
        (b"__import__('os').getcwd()\n", "line 1: neither JSON nor"),
        (b'{"a": "\xe9"}\n', "line 1: not UTF-8"),
        (gzip.compress(b'{"a": 1}\n' * 9999)[:-30], r"damaged or cut off after line \d+"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, content, words):
    path = tmp_path / "r.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"r.json.*{words}"):
        list(records(path))


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / "big.json.gz"
    path.write_bytes(gzip.compress((b'{"text": "' + b"word " * 200 + b'"}\n') * 20_000, 1))  # 20 MB unpacked
    tracemalloc.start()
    assert sum(1 for _ in records(path)) == 20_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5e6
