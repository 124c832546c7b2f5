"""Fetching from sources made up here: order, verification, and what is left behind."""

import errno
import gzip
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from recsys_lora.assets.fetch import Asset, fetch, locate
from recsys_lora.assets.registry import GEMMA3_270M, ML_1M, ML_100K, SMOLLM2_135M
from recsys_lora.assets.source import SourceError
from recsys_lora.utils.errors import UserError

CONTENT = b"a model of the world"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class MadeSource:
    """Writes what it is told to, and counts."""

    files: dict[str, bytes] = field(default_factory=dict)
    error: BaseException | None = None
    asked: int = 0

    def __str__(self):
        return "made"

    def retrieve(self, folder: Path) -> None:
        self.asked += 1
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        if self.error:
            raise self.error


def asset(*sources, layouts=({"model.bin": SHA256},)):
    return Asset("thing", layouts, "https://example.org", sources)


def test_the_first_source_that_works_is_used_and_then_the_cache(caplog):
    broken, good = MadeSource(error=SourceError("not reachable")), MadeSource({"model.bin": CONTENT})
    thing = asset(broken, good)
    path = fetch(thing)
    assert path.read_bytes() == CONTENT
    assert path == thing.folder / "model.bin"
    assert fetch(thing) == path
    assert (broken.asked, good.asked) == (1, 1)


def test_several_files_give_their_folder():
    source = MadeSource({"a": CONTENT, "b": CONTENT})
    thing = asset(source, layouts=({"x": None}, {"a": SHA256, "b": None}))
    assert fetch(thing) == thing.folder


def test_a_wrong_checksum_names_the_file_what_was_expected_and_what_came():
    thing = asset(MadeSource({"model.bin": b"something else"}))
    came = hashlib.sha256(b"something else").hexdigest()
    with pytest.raises(UserError, match=f"model.bin: wrong checksum: SHA-256 {SHA256} was expected, {came} came"):
        fetch(thing)
    assert not thing.folder.exists()


def test_all_failures_are_told_in_one_line():
    sources = MadeSource(error=SourceError("not reachable (no route)")), MadeSource(error=SourceError("pip failed: no"))
    with pytest.raises(UserError) as caught:
        fetch(asset(*sources))
    message = str(caught.value)
    assert "no route" in message
    assert "pip failed: no" in message
    assert "put model.bin into" in message
    assert "\n" not in message


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SourceError("broke off")])
def test_an_interrupted_download_leaves_nothing_and_can_be_run_again(error):
    source = MadeSource({"model.bin": CONTENT[:5]}, error)
    thing = asset(source)
    with pytest.raises((KeyboardInterrupt, UserError)):
        fetch(thing)
    assert [path.name for path in thing.folder.parent.iterdir() if path.suffix != ".lock"] == []
    source.files, source.error = {"model.bin": CONTENT}, None
    assert fetch(thing).read_bytes() == CONTENT


def test_what_a_killed_fetch_left_is_swept_by_the_next():
    thing = asset(MadeSource({"model.bin": CONTENT}))
    left = thing.folder.parent / ".thing.123-abcdef01.tmp"
    left.mkdir(parents=True)
    (left / "archive.zip").write_bytes(b"half")
    other = thing.folder.parent / ".other.123-abcdef01.tmp"
    other.mkdir()
    fetch(thing)
    assert not left.exists()
    assert other.exists()  # another asset's, whose lock is not held here


def test_a_full_disk_says_so():
    thing = asset(MadeSource(error=OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(UserError, match="the disk is full"):
        fetch(thing)


def test_a_damaged_cache_is_fetched_again():
    source = MadeSource({"model.bin": CONTENT})
    path = fetch(asset(source))
    path.write_bytes(b"bit rot")
    assert fetch(asset(source)).read_bytes() == CONTENT
    assert source.asked == 2


def test_what_a_person_has_is_verified_and_never_fetched(tmp_path):
    source = MadeSource({"model.bin": CONTENT})
    with pytest.raises(UserError, match=f"thing needs model.bin in {tmp_path}: get them from https://example.org"):
        fetch(asset(source), tmp_path)
    (tmp_path / "model.bin").write_bytes(b"other")
    with pytest.raises(UserError, match="wrong checksum"):
        fetch(asset(source), tmp_path)
    (tmp_path / "model.bin").unlink()
    (tmp_path / "model.bin.gz").write_bytes(gzip.compress(CONTENT))
    assert fetch(asset(source), tmp_path) == tmp_path / "model.bin.gz" == locate(tmp_path, "model.bin")
    (tmp_path / "model.bin.gz").write_bytes(gzip.compress(CONTENT)[:-9])
    with pytest.raises(UserError, match="damaged or cut off"):
        fetch(asset(source), tmp_path)
    assert source.asked == 0


def test_an_asset_that_cannot_be_fetched_says_where_to_put_it():
    with pytest.raises(
        UserError, match=r"ratings.dat and movies.dat in .*home/assets/ml_1m: get them from https://\S+"
    ):
        fetch(ML_1M)


@pytest.mark.network
@pytest.mark.parametrize("known", [ML_100K, SMOLLM2_135M, GEMMA3_270M], ids=lambda known: known.name)
def test_known_assets_are_fetched_into_an_empty_cache(known):
    assert fetch(known).exists()
