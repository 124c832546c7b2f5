"""Files are whole or absent, whatever the disk does."""

import errno
import os
import resource
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import save_file

from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import (
    atomic_file,
    atomic_folder,
    content_key,
    home,
    read_json,
    write_bytes,
    write_json,
)

LIMIT = 8192
NOISE = np.random.default_rng(0).random(20_000)


@contextmanager
def small_files():
    """Let the system refuse files over a few kilobytes, as a full disk refuses them.

    It refuses them to the whole process: nothing but the writing tested may happen inside, not even pytest's own
    report of the test, which goes to a file where the output is kept.
    """
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


WRITERS = {
    "python": lambda path: path.write_bytes(NOISE.tobytes()),
    "polars": lambda path: pl.DataFrame({"x": NOISE}).write_parquet(path),
    "safetensors": lambda path: save_file({"x": torch.from_numpy(NOISE)}, path),
}


@pytest.mark.parametrize("library", WRITERS)
def test_what_the_system_refuses_to_write_is_said_whichever_library_writes(tmp_path, library):
    with (
        pytest.raises(UserError, match=r"out: grows over the system's limit for a file"),
        small_files(),
        atomic_file(tmp_path / "out") as path,
    ):
        WRITERS[library](path)
    assert list(tmp_path.iterdir()) == []


def rust_error(number: int, text: str) -> Exception:
    """Return an error of a library that is not written in Python."""
    return pl.exceptions.ComputeError(f"parquet: {text} (os error {number})")


def half_made(target: Path, error: Exception) -> None:
    with atomic_folder(target) as folder:
        (folder / "half").write_bytes(b"half")
        raise error


def half_written(target: Path, error: Exception) -> None:
    with atomic_file(target) as path:
        path.write_bytes(b"half")
        raise error


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("make", [OSError, rust_error])
def test_a_full_disk_leaves_what_was_there(tmp_path, number, make):
    write_json(tmp_path / "out" / "record.json", {"old": 1})
    with pytest.raises(UserError, match=r"out: the disk is full \(\d+ MiB free\): make room and run again"):
        half_made(tmp_path / "out", make(number, "No space left on device"))
    assert read_json(tmp_path / "out" / "record.json") == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("half", [half_made, half_written])
def test_a_full_disk_is_told_where_a_library_does_not_say_so(tmp_path, monkeypatch, half):
    lost = RuntimeError("parquet: File out of specification: Invalid thrift: transport error")
    with pytest.raises(RuntimeError):
        half(tmp_path / "out", lost)
    monkeypatch.setattr("recsys_lora.utils.files._probed", lambda folder: errno.ENOSPC)
    with pytest.raises(UserError, match="out: the disk is full"):
        half(tmp_path / "out", lost)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [ZeroDivisionError(), FileNotFoundError(errno.ENOENT, "x"), UserError("said")])
@pytest.mark.parametrize("half", [half_made, half_written])
def test_other_errors_pass_and_leave_nothing(tmp_path, half, error):
    with pytest.raises(type(error)) as raised:
        half(tmp_path / "out", error)
    assert raised.value is error
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(UserError, match=r"out: cannot be written \(Read-only file system\): choose another place"):
        half_written(tmp_path / "out", OSError(errno.EROFS, "Read-only file system"))


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("file/a", "File exists"),
        ("file/a/b", "Not a directory"),
        ("folder", "Is a directory"),
        ("n" * 300, "File name"),
    ],
)
def test_what_is_in_the_way_of_a_file_is_said(tmp_path, target, reason):
    (tmp_path / "file").write_text("somebody's")
    (tmp_path / "folder" / "full").mkdir(parents=True)
    with pytest.raises(UserError, match=rf"{target}: cannot be written \({reason}.*\): choose another place"):
        write_bytes(tmp_path / target, b"abc")
    assert (tmp_path / "file").read_text() == "somebody's"
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_name_that_is_taken_elsewhere_is_a_defect(tmp_path):
    taken = FileExistsError(errno.EEXIST, "File exists", str(tmp_path / "raw" / "a"))
    with pytest.raises(FileExistsError):
        half_made(tmp_path / "made" / "out", taken)


def test_bytes_and_json_are_written_whole(tmp_path):
    write_bytes(tmp_path / "new" / "b", b"abc")
    assert (tmp_path / "new" / "b").read_bytes() == b"abc"
    write_json(tmp_path / "j", {"ü": [1, None]})
    assert read_json(tmp_path / "j") == {"ü": [1, None]}
    (tmp_path / "j").write_text("{")
    with pytest.raises(UserError, match=r"j: not a JSON file"):
        read_json(tmp_path / "j")


def test_a_key_is_of_the_content_alone():
    assert content_key({"a": 1, "b": [2.0]}) == content_key({"b": [2.0], "a": 1})
    assert len({content_key(value) for value in (1, 1.5, "1", [1], {"a": 1}, {"a": "1"}, None)}) == 7
    with pytest.raises(ValueError, match="not JSON compliant"):
        content_key(float("nan"))


def test_home_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("RECSYS_LORA_HOME", str(tmp_path))
    assert home() == tmp_path
    monkeypatch.delenv("RECSYS_LORA_HOME")
    assert home().name == "recsys_lora"


def test_a_user_without_a_home_has_to_choose_one(monkeypatch):
    """As in a container under any user's number: no HOME, and no entry in the system's list of users."""
    for name in ("RECSYS_LORA_HOME", "HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 3)
    with pytest.raises(UserError, match=r"^RECSYS_LORA_HOME: has to name a cache folder"):
        home()


def test_a_home_that_cannot_be_made_is_named_with_what_chooses_another(monkeypatch, tmp_path):
    monkeypatch.setenv("RECSYS_LORA_HOME", str(tmp_path / "denied" / "cache"))
    denied = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "denied"))
    said = r"Permission denied\): choose another cache by RECSYS_LORA_HOME$"
    with pytest.raises(UserError, match=said), atomic_folder(home() / "artifacts" / "out"):
        raise denied


def test_a_raw_file_that_cannot_be_read_is_named_itself(tmp_path):
    raw = tmp_path / "raw" / "ratings.csv"
    denied = PermissionError(errno.EACCES, "Permission denied", str(raw))
    with pytest.raises(UserError, match=r"ratings\.csv: cannot be opened"), atomic_folder(tmp_path / "made" / "out"):
        raise denied
