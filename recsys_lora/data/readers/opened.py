"""Raw tables of any kind, detected from a file's first bytes."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import duckdb

from recsys_lora.data.engine import Engine, first_line, name, text
from recsys_lora.data.readers.delimited import delimited_table
from recsys_lora.data.readers.packed import LONGEST_LINE
from recsys_lora.data.readers.raw_table import Column, Piece, RawTable
from recsys_lora.data.readers.records import keys_of, plain_records, record_place
from recsys_lora.data.readers.source import Part, files_of, open_part, scratch_file
from recsys_lora.data.readers.text_format import TextFormat, dialect
from recsys_lora.utils.errors import UserError

Keep = Callable[[bytes], bool] | None


def open_table(
    path: Path,
    engine: Engine,
    form: TextFormat,
    wanted: Sequence[str],
    role: str,
    knob: str | None = "data.reader",
    usual: str | None = None,
    keep: Keep = None,
) -> RawTable:
    """Open a table of any kind: Parquet, delimited text, or one record per line.

    Args:
        path: a file or a folder of parts.
        engine: reads it.
        form: the format of text files.
        wanted: names of columns that will be read.
        role: the config key that names the file, for messages.
        knob: the config key of its format; None if the format is fixed.
        usual: a separator to try first.
        keep: returns whether a line of a file of Python literals is wanted.

    Raises:
        UserError: it cannot be read at all, or its parts differ.
    """
    parts = [
        open_part(file, engine, form.encoding, f"{knob}.encoding" if knob else "") for file in files_of(path, role)
    ]
    tables = [_open(part, engine, form, wanted, knob, usual, keep) for part in parts]
    first = tables[0]
    for part, table in zip(parts, tables, strict=True):
        if list(table.columns) != list(first.columns):
            raise UserError(
                f"{part.origin}: has the columns {', '.join(table.columns)} where {parts[0].origin.name} has "
                f"{', '.join(first.columns)}: the parts of one table need the same"
            )
    return replace(first, path=path, pieces=[piece for table in tables for piece in table.pieces], starts=[])


def _open(
    part: Part, engine: Engine, form: TextFormat, wanted: Sequence[str], knob: str | None, usual: str | None, keep: Keep
) -> RawTable:
    if part.parquet:
        return _parquet(part, engine)
    if part.sample.lstrip().startswith(b"{"):
        return _records(part, engine, wanted, keep)
    if part.sample.lstrip().startswith(b"["):
        return _array(part, engine)
    return delimited_table(part, engine, dialect(part, form, wanted, knob, usual), knob)


def _parquet(part: Part, engine: Engine) -> RawTable:
    relation = f"read_parquet({text(str(part.path))})"

    def explain(error: duckdb.Error) -> str:
        raise UserError(f"{part.origin}: not a readable Parquet file ({first_line(error)})") from error

    try:
        kinds = engine.columns(relation)
    except duckdb.Error as error:
        explain(error)
    kinds |= _durations(part, engine)
    columns = {column: _typed(name(column), kind) for column, kind in kinds.items()}
    return RawTable(part.origin, columns, [Piece(part, relation, lambda row: f"{part.origin}, row {row + 1}", explain)])


def _typed(sql: str, kind: str) -> Column:
    """Return a Parquet column; one that has only nulls is read as text."""
    return Column(f"CAST({sql} AS VARCHAR)") if kind == '"NULL"' else Column(sql, kind)


def _durations(part: Part, engine: Engine) -> dict[str, str]:
    """Return the columns that pandas wrote as durations, which Parquet itself stores as integers."""
    query = f"SELECT decode(value) FROM parquet_kv_metadata({text(str(part.path))}) WHERE decode(key) = 'pandas'"
    columns = json.loads(engine.value(query) or "{}").get("columns", [])
    return {c["name"]: "DURATION" for c in columns if str(c.get("numpy_type")).startswith("timedelta")}


def _array(part: Part, engine: Engine) -> RawTable:
    """Open one JSON array of records, as written by pandas' `to_json(orient="records")`."""
    options = f"format = 'array', compression = '{part.compression}', maximum_object_size = {LONGEST_LINE}"
    source = f"{text(str(part.path))}, {options}"

    def explain(error: duckdb.Error) -> str:
        raise UserError(f"{part.origin}: not a readable JSON array ({first_line(error)})") from error

    try:
        columns = {column: Column(name(column)) for column in engine.columns(f"read_json({source})")}
    except duckdb.Error as error:
        explain(error)
    listed = ", ".join(f"{text(column)}: 'VARCHAR'" for column in columns)
    relation = f"read_json({source}, columns = {{{listed}}})"
    return RawTable(
        part.origin, columns, [Piece(part, relation, lambda row: f"{part.origin}, record {row + 1}", explain)]
    )


def _records(part: Part, engine: Engine, wanted: Sequence[str], keep: Keep) -> RawTable:
    keys = keys_of(part)
    asked = {key.lower(): key for key in [*reversed(keys), *wanted]}  # SQL names are case-insensitive
    columns = [key for key in [*keys, *wanted] if asked[key.lower()] == key]
    listed = ", ".join(f"{text(key)}: 'VARCHAR'" for key in dict.fromkeys(columns))

    def relation(path: Path, compression: str) -> str:
        options = f"format = 'newline_delimited', compression = '{compression}', maximum_object_size = {LONGEST_LINE}"
        return f"read_json({text(str(path))}, {options}, columns = {{{listed}}})"

    def explain(error: duckdb.Error) -> str:
        """Read line by line what is not strict JSON: Python literals, NaN, halves of surrogate pairs."""
        return relation(plain_records(part, scratch_file(engine, part.origin)), "none")

    present = {key: Column(name(key)) for key in keys if key in columns}
    if not part.sample.lstrip().startswith((b'{"', b"{}", b'{ "')):
        path, compression = plain_records(part, scratch_file(engine, part.origin), keep), "none"
    else:
        path, compression = part.path, part.compression
    piece = Piece(part, relation(path, compression), lambda row: record_place(part, row), explain)
    return RawTable(part.origin, present, [piece], open_ended=True)
