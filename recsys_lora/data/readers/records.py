"""Files of one record a line, JSON or Python literals, read as a stream: nothing but the present line is in memory."""

import ast
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from recsys_lora.console import progress
from recsys_lora.data.readers.text import is_gzipped
from recsys_lora.errors import UserError

LINES_BETWEEN_REPORTS = 2000
MEGABYTE = 1e6
Record = dict[str, Any]


def records(path: Path) -> Iterator[tuple[int, Record]]:
    """Yield each record with the number of its line, under a progress display.

    Raises:
        UserError: names the line that cannot be read, or says that the file is empty or cut off.
    """
    number = 0
    size = path.stat().st_size / MEGABYTE
    with path.open("rb") as raw, progress(f"reading {path.name}", size, "MB", show=size > 1) as advance:
        lines: BinaryIO = gzip.GzipFile(fileobj=raw) if is_gzipped(path) else raw  # type: ignore[assignment]
        reported = 0
        try:
            for number, line in enumerate(lines, start=1):
                if number % LINES_BETWEEN_REPORTS == 0:
                    advance((raw.tell() - reported) / MEGABYTE, "")
                    reported = raw.tell()
                if not line.isspace():
                    yield number, _parse(line, path, number)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise UserError(
                f"{path}: the gzipped file is damaged or cut off after line {number} ({error}): download it again"
            ) from error
        advance((raw.tell() - reported) / MEGABYTE, "")
    if not number:
        raise UserError(f"{path}: the file is empty: download it again or name another")


def _parse(line: bytes, path: Path, number: int) -> Record:
    try:
        record = json.loads(line)
    except ValueError:
        record = _literal(line, path, number)
    if not isinstance(record, dict):
        raise UserError(f"{path}, line {number}: a {type(record).__name__} where a record in braces should be")
    return record


def _literal(line: bytes, path: Path, number: int) -> Any:
    """Read a Python literal, as the meta files of 2014 have them; only literals are evaluated."""
    try:
        return ast.literal_eval(line.decode("utf-8").strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        start = line[:60].decode("utf-8", errors="replace").strip()
        raise UserError(
            f"{path}, line {number}: neither JSON nor a Python literal: {start!r}: correct or remove the line"
        ) from error
