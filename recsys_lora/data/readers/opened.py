"""A raw file as something that SQL can select from, and from which the place of any of its rows can be told."""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import duckdb

from recsys_lora.data.engine import Engine, first_line, name, text
from recsys_lora.data.readers.records import keys_of, plain_records, record_place
from recsys_lora.data.readers.source import Part, check_encoding, files_of, open_part, scratch_file
from recsys_lora.data.readers.text_format import Dialect, TextFormat, dialect
from recsys_lora.errors import UserError

LONGEST_LINE = 16 << 20
VARCHAR = "VARCHAR"
Keep = Callable[[bytes], bool] | None


@dataclass(frozen=True)
class Column:
    """One column of a raw file.

    Attributes:
        sql: how it is selected.
        kind: its SQL type.
    """

    sql: str
    kind: str = VARCHAR


@dataclass(frozen=True)
class Piece:
    """One part of a raw table.

    Attributes:
        part: the file.
        relation: what stands behind FROM.
        place: tells where row n (from 0) stands.
        explain: says what is wrong with a part that DuckDB cannot read; returns another way to read it where it is
            DuckDB that is too strict, or raises.
    """

    part: Part
    relation: str
    place: Callable[[int], str]
    explain: Callable[[duckdb.Error], str]


@dataclass(frozen=True)
class RawTable:
    """A raw file, or a folder of parts with the same columns.

    Attributes:
        path: as the person named it.
        columns: by name, in order.
        pieces: the parts in order.
        headless: the columns have no names but their positions.
        open_ended: records may have further keys than `columns`, which has those of the first.
        repeated: names that more than one column has.
        starts: rows before each piece, filled in as they are read.
    """

    path: Path
    columns: dict[str, Column]
    pieces: list[Piece]
    headless: bool = False
    open_ended: bool = False
    repeated: frozenset[str] = frozenset()
    starts: list[int] = field(default_factory=list)

    def place(self, line: int) -> str:
        """Tell where a row stands, counted from 0 over all parts."""
        number = max(n for n, start in enumerate(self.starts) if start <= line)
        return self.pieces[number].place(line - self.starts[number])

    def load(self, engine: Engine, into: str, select: Mapping[str, str]) -> None:
        """Make a table of expressions over the columns, in the order of the file.

        Its first column, `line`, numbers all rows of all parts from 0.

        Raises:
            UserError: a part cannot be read: names the line.
        """
        listed = ", ".join(f"{sql} AS {name(alias)}" for alias, sql in select.items())
        self.starts.clear()
        for number, piece in enumerate(self.pieces):
            start = engine.count(into) if number else 0
            self.starts.append(start)
            begin = f"INSERT INTO {into}" if number else f"CREATE OR REPLACE TABLE {into} AS"

            def read(relation: str, begin: str = begin, start: int = start, piece: Piece = piece) -> None:
                query = f"SELECT row_number() OVER () - 1 + {start} AS line, {listed} FROM {relation}"
                engine.run(f"{begin} {query}", f"reading {piece.part.origin.name}")

            try:
                read(piece.relation)
            except duckdb.OutOfMemoryException:
                raise
            except duckdb.Error as error:
                read(piece.explain(error))


def open_table(
    path: Path,
    engine: Engine,
    form: TextFormat,
    wanted: Sequence[str],
    role: str,
    knob: str = "data.reader",
    usual: str | None = None,
    keep: Keep = None,
) -> RawTable:
    """Open a table of any kind: Parquet, separated fields, or one record a line.

    Args:
        path: a file or a folder of parts.
        engine: reads it.
        form: the format of texts.
        wanted: names of columns that will be asked for.
        role: the config key that names the file, for messages.
        knob: the config key of its format.
        usual: a separator to try first.
        keep: tells which lines of a file of Python literals are wanted.

    Raises:
        UserError: it cannot be read at all, or its parts differ.
    """
    parts = [open_part(file, engine, form.encoding, f"{knob}.encoding") for file in files_of(path, role)]
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
    part: Part, engine: Engine, form: TextFormat, wanted: Sequence[str], knob: str, usual: str | None, keep: Keep
) -> RawTable:
    if part.parquet:
        return _parquet(part, engine)
    if part.sample.lstrip().startswith(b"{"):
        return _records(part, engine, wanted, keep)
    return _delimited(part, engine, dialect(part, form, wanted, knob, usual), knob)


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
    """Return a Parquet column; one in which nothing was ever written is empty text."""
    return Column(f"CAST({sql} AS VARCHAR)") if kind == '"NULL"' else Column(sql, kind)


def _durations(part: Part, engine: Engine) -> dict[str, str]:
    """Return the columns that pandas wrote as durations, which Parquet itself takes for integers."""
    query = f"SELECT decode(value) FROM parquet_kv_metadata({text(str(part.path))}) WHERE decode(key) = 'pandas'"
    columns = json.loads(engine.value(query) or "{}").get("columns", [])
    return {c["name"]: "DURATION" for c in columns if str(c.get("numpy_type")).startswith("timedelta")}


def _records(part: Part, engine: Engine, wanted: Sequence[str], keep: Keep) -> RawTable:
    keys = keys_of(part)
    asked = {key.lower(): key for key in [*reversed(keys), *wanted]}  # SQL does not tell A from a
    columns = [key for key in [*keys, *wanted] if asked[key.lower()] == key]
    listed = ", ".join(f"{text(key)}: 'VARCHAR'" for key in dict.fromkeys(columns))

    def relation(path: Path, compression: str) -> str:
        options = f"format = 'newline_delimited', compression = '{compression}', maximum_object_size = {LONGEST_LINE}"
        return f"read_json({text(str(path))}, {options}, columns = {{{listed}}})"

    def explain(error: duckdb.Error) -> str:
        """Read what is no strict JSON line by line: Python literals, NaN, halves of characters."""
        return relation(plain_records(part, scratch_file(engine, part.origin)), "none")

    present = {key: Column(name(key)) for key in keys if key in columns}
    if not part.sample.lstrip().startswith((b'{"', b"{}", b'{ "')):
        path, compression = plain_records(part, scratch_file(engine, part.origin), keep), "none"
    else:
        path, compression = part.path, part.compression
    piece = Piece(part, relation(path, compression), lambda row: record_place(part, row), explain)
    return RawTable(part.origin, present, [piece], open_ended=True)


def _delimited(part: Part, engine: Engine, form: Dialect, knob: str) -> RawTable:
    aliases = {f"c{number}": column for number, column in enumerate(form.columns)}
    listed = ", ".join(f"'{alias}': 'VARCHAR'" for alias in aliases)

    def relation(path: Path, compression: str, separator: str, quote: str, escape: str) -> str:
        options = (
            f"auto_detect = false, header = {str(form.header).lower()}, delim = {text(separator)}, "
            f"quote = {text(quote)}, escape = {text(escape)}, compression = '{compression}', "
            f"max_line_size = {LONGEST_LINE}, buffer_size = {2 * LONGEST_LINE}"
        )
        return f"read_csv({text(str(path))}, {options}, columns = {{{listed}}})"

    def explain(error: duckdb.Error) -> str:
        """Find the line that breaks the format; where none does, write the file anew in the format DuckDB reads."""
        return relation(_rewritten(part, engine, form, knob), "none", ",", '"', '"')

    columns: dict[str, Column] = {}
    for alias, column in aliases.items():
        columns.setdefault(column, Column(alias))  # of two columns of one name, the first
    piece = Piece(
        part,
        relation(part.path, part.compression, form.separator, form.quote, form.escape),
        lambda row: _delimited_place(part, form, row),
        explain,
    )
    repeated = frozenset(column for column, count in Counter(form.columns).items() if count > 1)
    return RawTable(part.origin, columns, [piece], headless=not form.header, repeated=repeated)


def _delimited_place(part: Part, form: Dialect, row: int) -> str:
    with part.lines() as stream:
        lines = io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="")
        found = next(islice(form.rows(iter(lines)), row + int(form.header), None), None)
    return f"{part.origin}, line {found[0]}" if found else f"{part.origin}, row {row + 1}"


def _rewritten(part: Part, engine: Engine, form: Dialect, knob: str) -> Path:
    """Write a file anew with commas and quotes; blank lines are left out.

    Raises:
        UserError: names the first line that is not in the encoding or has another number of fields.
    """
    check_encoding(part, "utf-8", f"{knob}.encoding")
    target = scratch_file(engine, part.origin)
    width = len(form.columns)
    begun = 0
    try:
        with part.lines() as stream, target.open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
            for begun, fields in form.rows(iter(io.TextIOWrapper(stream, encoding="utf-8", newline=""))):
                if len(fields) != width:
                    raise UserError(
                        f"{part.origin}, line {begun}: {len(fields)} fields where "
                        f"{'the header' if form.header else 'the first line'} has {width}: correct the line"
                    )
                writer.writerow(fields)
    except csv.Error as error:
        advice = ""
        if form.escape == '"':
            advice = f", or say how quotes are written: {knob}.escape=backslash or {knob}.quote=none"
        raise UserError(
            f"{part.origin}, after line {begun}: quotes are not closed or text follows one ({error}): "
            f"correct the line{advice}"
        ) from error
    return target
