"""Locks: one at a time, and one line where the file cannot be written."""

import errno

import pytest
from filelock import FileLock, Timeout

from recsys_lora.utils.errors import UserError
from recsys_lora.utils.locks import locked, take


def test_a_lock_is_held_until_the_block_ends(tmp_path):
    path = tmp_path / "deep" / ".lock"
    with locked(path), pytest.raises(Timeout):
        take(path, timeout=0)
    take(path, timeout=0).release()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, monkeypatch, number):
    path = tmp_path / ".lock"

    def refused(self, **options):
        raise OSError(number, "refused", str(path))

    monkeypatch.setattr(FileLock, "acquire", refused)
    with pytest.raises(UserError, match=r"\.lock: cannot be written \(.*\): choose another place"):
        take(path)
    monkeypatch.setenv("RECSYS_LORA_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"\.lock: cannot be written \(.*\): choose another cache by RECSYS_LORA_HOME"):
        take(path)
