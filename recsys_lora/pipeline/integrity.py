"""Whether an artifact is still what was written: sizes and times at every use, contents once a machine.

An artifact's record holds the SHA-256 of each of its files. Reading them all at every start would cost seconds for
large tables, so a machine that has compared the contents notes sizes and times of modification beside the artifact, and
compares again only when these have changed.
"""

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import file_sha256, write_json

Checksums = Mapping[str, str]


def checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below `folder`, by its path in it."""
    return {str(path.relative_to(folder)): file_sha256(path) for path in _files(folder)}


def damage(folder: Path, expected: Checksums, remember: bool = True) -> str | None:
    """Return what is wrong with an artifact's files, in a few words; None if nothing.

    Args:
        folder: of the artifact; its own record `artifact.json` is left aside.
        expected: what `checksums` returned when it was made.
        remember: note beside the folder that contents were compared.
    """
    note = _note(folder)
    try:
        stamps = {name: _stamp(folder / name) for name in expected}
        if _read(note).get(platform.node()) == stamps:
            return None
        for name, checksum in expected.items():
            if file_sha256(folder / name) != checksum:
                return f"{name} has changed since it was written"
    except FileNotFoundError as error:
        return f"{Path(error.filename).relative_to(folder)} is missing"
    if remember:
        _write(note, {**_read(note), platform.node(): stamps})
    return None


def _note(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.verified")


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _read(note: Path) -> dict[str, Any]:
    """Return the machines' notes; a note that cannot be read only costs a comparison."""
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(note: Path, notes: Mapping[str, Any]) -> None:
    """Keep the notes where the disk can be written; elsewhere the contents are compared at every use."""
    try:
        write_json(note, notes)
    except (UserError, OSError):
        return
