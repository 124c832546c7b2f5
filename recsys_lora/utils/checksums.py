"""Checksums of files, remembered until a file changes, so that gigabytes are not read again in each run."""

import contextlib
import platform
from pathlib import Path

from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import content_key, file_sha256, home, read_json, write_json


def remembered_sha256(path: Path) -> str:
    """Return the SHA-256 of a file; a machine reads a file again only if its size, time or place on disk changes."""
    found = path.stat()
    seen = [platform.node(), str(path.absolute()), found.st_size, found.st_mtime_ns, found.st_ino]
    try:
        memory = home() / "checksums" / f"{content_key(seen)}.json"
    except UserError:  # there is no cache
        return file_sha256(path)
    with contextlib.suppress(UserError, KeyError, TypeError):  # no record, or one that cannot be read
        return str(read_json(memory)["sha256"])
    value = file_sha256(path)
    with contextlib.suppress(UserError):  # a cache that cannot be written only costs reading the file again
        write_json(memory, {"file": seen[1], "sha256": value})
    return value
