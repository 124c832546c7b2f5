"""Remembered checksums."""

import os

import pytest

from recsys_lora.utils import checksums
from recsys_lora.utils.checksums import remembered_sha256
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import file_sha256


@pytest.fixture
def path(tmp_path):
    (tmp_path / "raw.txt").write_text("one")
    return tmp_path / "raw.txt"


def test_a_file_is_read_again_only_when_it_changed(home, path, monkeypatch):
    reads = []
    monkeypatch.setattr(checksums, "file_sha256", lambda p: reads.append(p) or file_sha256(p))
    first = remembered_sha256(path)
    assert remembered_sha256(path) == first == file_sha256(path)
    assert len(reads) == 1
    path.write_text("two")
    os.utime(path, ns=(1, 1))
    assert remembered_sha256(path) == file_sha256(path) != first
    assert len(reads) == 2


@pytest.mark.parametrize("content", ["", "[]", "{}"])
def test_a_record_that_is_damaged_costs_reading_again(home, path, content):
    remembered_sha256(path)
    [record] = (home / "checksums").iterdir()
    record.write_text(content)
    assert remembered_sha256(path) == file_sha256(path)


def test_a_cache_that_cannot_be_written_costs_reading_again(home, path):
    home.write_text("a file where a folder would be")
    assert [remembered_sha256(path) for _ in range(2)] == [file_sha256(path)] * 2


def test_without_a_home_nothing_is_remembered(monkeypatch, path):
    def nowhere():
        raise UserError("no home")

    monkeypatch.setattr(checksums, "home", nowhere)
    assert remembered_sha256(path) == file_sha256(path)
