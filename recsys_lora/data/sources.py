"""Checksums of raw files, remembered as long as a file does not change: gigabytes are not read again at each run."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import content_key, file_sha256, home, read_json, write_json


def checksums(files: Mapping[str, Path]) -> dict[str, str]:
    """Return the SHA-256 of each file, by role."""
    return {role: _checksum(path) for role, path in sorted(files.items())}


def _checksum(path: Path) -> str:
    found = path.stat()
    seen = [str(path.absolute()), found.st_size, found.st_mtime_ns, found.st_ino]
    memory = home() / "checksums" / f"{content_key(seen)}.json"
    if memory.is_file():
        return str(read_json(memory)["sha256"])
    value = file_sha256(path)
    with contextlib.suppress(UserError):  # a cache that cannot be written only costs reading the file again
        write_json(memory, {"file": seen[0], "sha256": value})
    return value
