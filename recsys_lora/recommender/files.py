"""Input tables, and the output file for lists."""

import os
from pathlib import Path

import polars as pl

from recsys_lora.recommender.layout import USER, Layout, as_text
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import disk_errors

_PARQUET, CSV, _JSON_LINES = ".parquet", ".csv", ".jsonl"
_TABLES = (CSV, _JSON_LINES, _PARQUET)
_HEADER_BYTES = 2**16


def read_users(path: Path) -> pl.DataFrame:
    """Read a file of users, for `ids_of`: a table, or a text file with one id per line, read as a table of one column.

    Raises:
        UserError: it does not exist or cannot be read.
    """
    if path.suffix in _TABLES:
        return read_table(path)
    return pl.DataFrame({USER: [line for line in _text(path).splitlines() if line.strip()]}, {USER: pl.String})


def ids_of(users: pl.DataFrame, layout: Layout, path: Path) -> list[str]:
    """Return the distinct raw ids in a table from `read_users`; the path is for messages.

    Raises:
        UserError: the table has no column of users, or is empty.
    """
    table = layout.arranged(users, [USER], str(path))
    if USER not in table.columns:
        raise UserError(f"{path}: no column {layout.called(USER)}: it has {', '.join(users.columns)}")
    ids = as_text(table[USER].drop_nulls()).to_list()
    if not ids:
        raise UserError(f"{path}: no user is in it: give one id a line")
    return list(dict.fromkeys(ids))


def read_table(path: Path) -> pl.DataFrame:
    """Read a CSV, Parquet or JSON Lines file; all columns of a CSV are text.

    Raises:
        UserError: it does not exist or cannot be read.
    """
    if path.suffix not in _TABLES:
        raise UserError(f"{path}: unknown kind of table: give a {', '.join(_TABLES[:-1])} or {_TABLES[-1]} file")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        if path.suffix == _PARQUET:
            return pl.read_parquet(path)
        if path.suffix == _JSON_LINES:
            return pl.read_ndjson(path, infer_schema_length=None)
        _check_header(path)
        return pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{path}: cannot be read ({str(error).splitlines()[0]}): check the file") from error


def _check_header(path: Path) -> None:
    """Refuse a CSV with other separators of fields or lines, which would be read as one column or row."""
    with path.open("rb") as file:
        begin = file.read(_HEADER_BYTES)
    if b"\r" in begin.rstrip(b"\r") and b"\n" not in begin:
        raise UserError(f"{path}: its lines end in carriage returns alone: save it with line feeds")
    header = begin.partition(b"\n")[0].decode("utf-8", errors="replace").strip()
    if "," not in header and set(header) & set(";\t|"):
        raise UserError(f"{path}, line 1: no commas in {header!r}: separate fields by commas")


def check_target(path: Path) -> None:
    """Refuse an output file of an unknown kind or in a read-only folder, before anything is loaded.

    Raises:
        UserError: the kind is unknown, or the folder is not writable.
    """
    if path.suffix not in (_PARQUET, CSV):
        raise UserError(f"out={path}: unknown kind of file: give it a name that ends in {_PARQUET} or {CSV}")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"out={path}: nothing can be written into this folder: choose another place")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise UserError(f"{path}: cannot be read ({reason}): give a text file with one user id a line") from error
