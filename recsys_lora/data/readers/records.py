"""Files of one record a line, JSON or Python literals, read as a stream: nothing but the present line is in memory."""

import ast
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recsys_lora.console import progress
from recsys_lora.data.readers.text import is_gzipped
from recsys_lora.errors import UserError

LINES_BETWEEN_REPORTS = 2000
MEGABYTE = 1e6
BUFFER = 1 << 20
Record = dict[str, Any]


def records(path: Path) -> Iterator[tuple[int, Record]]:
    """Yield each record with the number of its line, under a progress display.

    Raises:
        UserError: names the line that cannot be read, or says that the file is empty or cut off.
    """
    number = 0
    size = path.stat().st_size / MEGABYTE
    with path.open("rb") as raw, progress(f"reading {path.name}", size, "MB", show=size > 1) as advance:
        lines = io.BufferedReader(gzip.GzipFile(fileobj=raw), BUFFER) if is_gzipped(path) else raw
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
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}, line {number}: not UTF-8 ({error.reason}): download the file again") from error
    try:
        record = json.loads(text)
    except ValueError:
        record = _literal(text.strip(), path, number)
    if not isinstance(record, dict):
        raise UserError(f"{path}, line {number}: a {type(record).__name__} where a record in braces should be")
    return record


def _literal(text: str, path: Path, number: int) -> Any:
    """Read a Python literal, as the meta files of 2014 have them; only literals are evaluated."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise UserError(
            f"{path}, line {number}: neither JSON nor a Python literal: {text[:60]!r}: correct or remove the line"
        ) from error
