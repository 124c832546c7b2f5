"""Tables that people bring, and the file that lists go to."""

from pathlib import Path

import polars as pl

from recsys_lora.utils.errors import UserError

_PARQUET, CSV, _JSON_LINES = ".parquet", ".csv", ".jsonl"
_TABLES = (CSV, _JSON_LINES, _PARQUET)


def read_users(path: Path) -> list[str]:
    """Return the raw ids of a file, each once: one a line, or the column user (or user_id) of a table.

    Raises:
        UserError: it is not there, cannot be read, has no such column, or is empty.
    """
    if path.suffix in _TABLES:
        table = read_table(path)
        column = next((name for name in ("user", "user_id") if name in table.columns), None)
        if column is None:
            raise UserError(f"{path}: no column user or user_id: it has {', '.join(table.columns)}")
        ids = table[column].drop_nulls().cast(pl.String).to_list()
    else:
        ids = [line for line in _text(path).splitlines() if line.strip()]
    if not ids:
        raise UserError(f"{path}: no user is in it: give one id a line")
    return list(dict.fromkeys(ids))


def read_table(path: Path) -> pl.DataFrame:
    """Read a CSV, Parquet or JSON lines file; ids are read as text.

    Raises:
        UserError: it is not there or cannot be read.
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
        ids = dict.fromkeys(("user", "user_id", "item", "item_id"), pl.String)
        named = pl.read_csv(path, n_rows=0).columns
        return pl.read_csv(path, schema_overrides={name: kind for name, kind in ids.items() if name in named})
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{path}: cannot be read ({str(error).splitlines()[0]}): check the file") from error


def check_target(path: Path) -> None:
    """Refuse a file to write whose kind is unknown, before anything is loaded.

    Raises:
        UserError: so it is.
    """
    if path.suffix not in (_PARQUET, CSV):
        raise UserError(f"out={path}: unknown kind of file: give it a name that ends in {_PARQUET} or {CSV}")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise UserError(f"{path}: cannot be read ({reason}): give a text file with one user id a line") from error
