"""Remembered checksums."""

import os

from recsys_lora.data import sources
from recsys_lora.utils.files import file_sha256


def test_a_file_is_read_again_only_when_it_changed(tmp_path, monkeypatch):
    path = tmp_path / "raw.txt"
    path.write_text("one")
    reads = []
    monkeypatch.setattr(sources, "file_sha256", lambda p: reads.append(p) or file_sha256(p))
    first = sources.checksums({"raw": path})
    assert sources.checksums({"raw": path}) == first == {"raw": file_sha256(path)}
    assert len(reads) == 1
    path.write_text("two")
    os.utime(path, ns=(1, 1))
    assert sources.checksums({"raw": path}) == {"raw": file_sha256(path)} != first
    assert len(reads) == 2


def test_a_cache_that_cannot_be_written_costs_reading_again(tmp_path, monkeypatch):
    path = tmp_path / "raw.txt"
    path.write_text("one")
    (tmp_path / "home").write_text("a file where a folder would be")
    monkeypatch.setenv("RECSYS_LORA_HOME", str(tmp_path / "home"))
    assert [sources.checksums({"raw": path}) for _ in range(2)] == [{"raw": file_sha256(path)}] * 2
