"""Archives that unpack to more than data do, and lines without an end, are refused before memory or disk is full."""

import bz2
import gzip
import zipfile

import pytest

from recsys_lora.assets.source import SourceError, _unzip
from recsys_lora.data.prepare import prepare
from recsys_lora.data.readers.table import Tables
from recsys_lora.data.split import UserTime
from recsys_lora.utils.errors import UserError

HEAD = b"user_id,item_id,rating,timestamp\n"
ROWS = b"".join(b"u%d,i%d,%d,%d\n" % (i % 4, i % 7, 5 if i % 2 else 1, i) for i in range(40))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Let a bomb be a few megabytes."""
    monkeypatch.setattr("recsys_lora.utils.files.UNPACKED_AT_ONCE", 4 << 20)


def prepared(path, out):
    return prepare(Tables(interactions=str(path)), UserTime(0.6, 0.2), name="x", positive=4.0, out=out)


def packed(kind, content, path):
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("ratings.csv", content)
    else:
        path.write_bytes({"gz": gzip.compress, "bz2": bz2.compress, "plain": bytes}[kind](content))
    return path


@pytest.mark.parametrize("kind", ["zip", "bz2"])
def test_what_is_unpacked_to_disk_is_bounded(tmp_path, kind):
    path = packed(kind, HEAD + ROWS * 20_000, tmp_path / f"r.csv.{kind}")
    with pytest.raises(UserError, match=r"MB are unpacked to more than .* MB, which no real data are") as refusal:
        prepared(path, tmp_path / "out")
    assert str(refusal.value).startswith(str(path))


@pytest.mark.parametrize("kind", ["plain", "gz", "bz2", "zip"])
def test_a_line_without_an_end_is_one_line(tmp_path, kind):
    path = packed(kind, HEAD + ROWS + b"u1," + b"x" * (40 << 20), tmp_path / f"r.csv.{kind}")
    with pytest.raises(UserError) as refusal:
        prepared(path, tmp_path / "out")
    assert str(refusal.value).startswith(str(path))
    assert len(str(refusal.value)) < 500


@pytest.mark.parametrize("kind", ["plain", "gz", "bz2", "zip"])
def test_data_are_read_however_they_are_packed(tmp_path, kind):
    assert len(prepared(packed(kind, HEAD + ROWS, tmp_path / "r.csv"), tmp_path / "out").interactions) == 40


def test_a_member_of_a_fetched_archive_is_bounded(tmp_path):
    path = packed("zip", bytes(40 << 20), tmp_path / "a.zip")
    with pytest.raises(SourceError, match=r"a\.zip unpacks ratings\.csv to more than real data"):
        _unzip(path, ["ratings.csv"], tmp_path / "out")
    assert not (tmp_path / "out").exists() or not (tmp_path / "out").stat().st_size
