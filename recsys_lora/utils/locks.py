"""Lock files: one process at a time, and one clear line if the lock cannot be written."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from recsys_lora.utils.files import disk_errors

if TYPE_CHECKING:
    from filelock import BaseFileLock


def take(path: Path, timeout: float = -1) -> "BaseFileLock":
    """Acquire a lock; its `release` gives it back.

    Args:
        path: the lock's file; its folder is created.
        timeout: seconds to wait for another process; negative: as long as it takes.

    Raises:
        filelock.Timeout: another process holds it.
        UserError: the file cannot be written.
    """
    from filelock import FileLock

    lock = FileLock(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=timeout)
    return lock


@contextlib.contextmanager
def locked(path: Path, timeout: float = -1) -> Iterator[None]:
    """Hold a lock within a block. Arguments and errors as for `take`."""
    with released(take(path, timeout)):
        yield


@contextlib.contextmanager
def released(lock: "BaseFileLock") -> Iterator[None]:
    """Release a held lock at the end of a block."""
    try:
        yield
    finally:
        lock.release()
