"""Atomic writes (a temporary name, then a rename), and keys made from content."""

import contextlib
import csv
import errno
import glob
import hashlib
import io
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from recsys_lora.utils.errors import UserError

LOCK, TEMPORARY = ".lock", ".tmp"
MOST_JSON = 64 * 2**20
_BLOCK = 1 << 16
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)
_IN_THE_WAY = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)
"""The system's errors if a file is where a folder should be, or the reverse, or if a name is invalid."""
UNPACKED_AT_ONCE, MOST_UNPACKED = 256 * 2**20, 200
"""Unpacked bytes that are always accepted, and how many times its packed size a larger file may have."""


def home() -> Path:
    """Return the cache folder: `RECSYS_LORA_HOME`, else `recsys_lora` in the user's cache folder.

    Raises:
        UserError: the user has no home folder, as in a container that runs under an arbitrary user id.
    """
    if configured := os.environ.get("RECSYS_LORA_HOME"):
        return Path(configured).expanduser().absolute()
    import platformdirs

    with contextlib.suppress(RuntimeError):  # where there is no home; older versions leave the ~ as it is
        if (found := Path(platformdirs.user_cache_dir("recsys_lora", appauthor=False))).is_absolute():
            return found
    raise UserError("RECSYS_LORA_HOME: has to name a cache folder, as this user has no home folder")


def temporary_name(target: Path) -> Path:
    """Return a name next to `target` that no other process uses."""
    target = target.absolute()  # so that the working folder has a name, too
    return target.with_name(f".{target.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}{TEMPORARY}")


def sweep_temporary(target: Path) -> None:
    """Remove what killed processes left behind while they wrote `target`; its lock must be held."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()


@contextlib.contextmanager
def disk_errors(target: Path) -> Iterator[None]:
    """Turn "no space left", "read-only" and "not a directory" into one clear line about `target`.

    Raises:
        UserError: instead of an error of the disk, or of something in the way of `target`; any other error passes.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        number = _system_error(error, target)
        if number in _FULL:
            free = shutil.disk_usage(_existing_parent(target)).free / 2**20
            raise UserError(f"{target}: the disk is full ({free:.0f} MiB free): make room and run again") from error
        if number == errno.EFBIG:
            raise UserError(f"{target}: grows over the system's limit for a file: raise it (ulimit -f)") from error
        named = getattr(error, "filename", None)
        above = named and target.absolute().is_relative_to(Path(named).absolute())
        elsewhere = named and not above and not Path(named).absolute().is_relative_to(target.absolute().parent)
        if number in (errno.EROFS, errno.EACCES, errno.EPERM) and elsewhere:
            raise UserError(f"{named}: cannot be opened ({os.strerror(number)}): change its permissions") from error
        if number in _REFUSED or (number in _IN_THE_WAY and not elsewhere):
            cached = target.absolute().is_relative_to(home())
            other = "choose another cache by RECSYS_LORA_HOME" if cached else "choose another place"
            raise UserError(f"{target}: cannot be written ({os.strerror(number)}): {other}") from error
        raise


def _system_error(error: Exception, target: Path) -> int | None:
    """Return the system's error number, which polars and safetensors give only in their messages, if at all."""
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found.group(1)) if found else _probed(_existing_parent(target))


def _probed(folder: Path) -> int | None:
    """Return the number of "no space left" if a folder takes no further block, else None."""
    probe = temporary_name(folder / "probe")
    try:
        probe.write_bytes(bytes(_BLOCK))
    except OSError as error:
        return error.errno if error.errno in _FULL else None
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    return None


def make_folder(path: Path, key: str) -> None:
    """Make a folder, with its parents, if it does not exist.

    Args:
        path: the folder.
        key: the config key that chooses it, for the message.

    Raises:
        UserError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: the folder cannot be made ({error.strerror}): choose another by {key}") from error


def _existing_parent(path: Path) -> Path:
    return next(p for p in (path, *path.absolute().parents) if p.exists())


@contextlib.contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Yield a temporary path to write; on success it becomes `target`, on any failure nothing is left.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_name(target)
        try:
            with disk_errors(target):  # asked while the temporary file still takes up space
                yield temporary
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill; on success it becomes `target` (replacing an older one), else it vanishes.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    with disk_errors(target):
        temporary = temporary_name(target)
        temporary.mkdir(parents=True)
        try:
            with disk_errors(target):
                yield temporary
            if target.exists():
                old = temporary_name(target)
                target.replace(old)
                temporary.replace(target)
                shutil.rmtree(old)
            else:
                temporary.replace(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_text(target: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_file(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(target: Path, content: bytes | memoryview) -> None:
    """Write bytes, atomically."""
    with atomic_file(target) as temporary:
        temporary.write_bytes(content)


def write_json(target: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV with the keys of all of them as columns; missing values are empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read_json(path: Path) -> Any:
    """Read a JSON file that this package wrote.

    Raises:
        UserError: the file cannot be read or is not JSON, or is larger or more deeply nested than what is written.
    """
    try:
        if (size := path.stat().st_size) > MOST_JSON:
            raise UserError(
                f"{path}: {size / 2**20:.0f} MiB of JSON is nothing that a run writes: run its command again"
            )
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): run its command again") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a JSON file ({error}): run its command again") from error


def blows_up(unpacked: int, packed: int) -> bool:
    """Return whether a file of `packed` bytes unpacks to more than real data would: a decompression bomb."""
    return unpacked > UNPACKED_AT_ONCE and unpacked > MOST_UNPACKED * packed


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_key(value: Any) -> str:
    """Return 16 hex digits that identify a JSON-able value; the order of mapping keys does not matter."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
