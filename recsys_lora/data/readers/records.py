"""Files of one record per line: DuckDB reads strict JSON; all else is read here and rewritten as strict JSON.

That is Python literals (the meta files of Amazon 2014, Steam's reviews), NaN, halves of surrogate pairs. Only literals
are evaluated, never code.
"""

import ast
import json
import re
from collections.abc import Callable
from itertools import islice
from json.encoder import encode_basestring
from pathlib import Path
from typing import IO, Any

from recsys_lora.data.readers.raw_table import MEGABYTE
from recsys_lora.data.readers.source import Part
from recsys_lora.utils.console import progress
from recsys_lora.utils.errors import UserError

LINES_BETWEEN_REPORTS = 2000
LINES_LOOKED_AT = 200
ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)
PYTHON_WORDS = {"None": "null", "True": "true", "False": "false"}
PYTHON_TOKEN = re.compile(r"""(\w*)("[^"\\]*(?:\\.[^"\\]*)*"|'[^'\\]*(?:\\.[^'\\]*)*')|\b(?:None|True|False)\b""")
"""A string with its prefix, or a word that JSON spells differently."""
Record = dict[str, Any]


def keys_of(part: Part) -> list[str]:
    """Return the keys of a file's first records.

    Raises:
        UserError: a line is not a record.
    """
    keys: dict[str, None] = {}
    with part.lines() as stream:
        for number, line in enumerate(islice(stream, LINES_LOOKED_AT), start=1):
            if not line.isspace():
                keys |= dict.fromkeys(map(str, parse(line, part.origin, number)))
    return list(keys)


def plain_records(part: Part, target: Path, keep: Callable[[bytes], bool] | None = None) -> Path:
    """Write a file's records as strict JSON, one per line.

    Args:
        part: the file.
        target: the new file.
        keep: returns whether a line is wanted; the others become `{}`, unread.

    Raises:
        UserError: a line cannot be read; names it.
    """
    size = part.path.stat().st_size / MEGABYTE
    with part.lines() as stream, target.open("wb") as out, progress(f"reading {part.origin.name}", size, "MB") as step:
        done = 0.0
        for number, line in enumerate(stream, start=1):
            if number % LINES_BETWEEN_REPORTS == 0:
                now = _position(stream) / MEGABYTE
                step(now - done, "")
                done = now
            if line.isspace():
                continue
            record = parse(line, part.origin, number) if keep is None or keep(line) else {}
            written = ENCODER.encode(_strict(record))
            out.write(written.encode("utf-8", errors="replace") + b"\n")
    return target


def record_place(part: Part, row: int) -> str:
    """Return the line of a record, given its number from 0; blank lines are not records."""
    with part.lines() as stream:
        numbers = (number for number, line in enumerate(stream, start=1) if not line.isspace())
        found = next(islice(numbers, row, None), None)
    return f"{part.origin}, line {found}" if found else f"{part.origin}, record {row + 1}"


def parse(line: bytes, path: Path, number: int) -> Record:
    """Read one line.

    Raises:
        UserError: it is neither JSON nor a Python literal, or not a record.
    """
    try:
        text = line.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}, line {number}: not UTF-8 ({error.reason}): download the file again") from error
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        record = _literal(text, path, number)
    if not isinstance(record, dict):
        raise UserError(f"{path}, line {number}: a {type(record).__name__} where a record in braces should be")
    return record


def _literal(text: str, path: Path, number: int) -> Any:
    """Read a Python literal; most differ from JSON only in quotes and three words, which is read ten times as fast."""
    try:
        return json.loads(PYTHON_TOKEN.sub(_as_json, text))
    except (ValueError, SyntaxError, RecursionError):
        pass  # tuples, bytes, keys that are not text: Python reads them
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError) as error:
        raise UserError(
            f"{path}, line {number}: neither JSON nor a Python literal: {text[:60]!r}: correct or remove the line "
            "(records stand one a line, or all of them in one JSON array)"
        ) from error


def _as_json(token: re.Match[str]) -> str:
    """Write a token of a Python literal as JSON; other kinds of strings stay, for JSON to refuse."""
    prefix, written = token.groups()
    if written is None:
        return PYTHON_WORDS[token.group()]
    if prefix not in ("", "u", "U"):
        return token.group()
    return encode_basestring(ast.literal_eval(written) if "\\" in written else written[1:-1])


def _strict(record: Record) -> Record:
    """Return a record whose keys are text; numbers that JSON lacks become text."""
    return {
        str(key): str(value) if isinstance(value, float) and value - value != 0 else value
        for key, value in record.items()
    }


def _position(stream: IO[bytes]) -> int:
    """Return how many bytes of the file itself, packed or not, have been read."""
    packed = getattr(getattr(stream, "raw", None), "fileobj", None)
    return int((packed or stream).tell())
