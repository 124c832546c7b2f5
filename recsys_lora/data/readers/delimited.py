"""Delimited text: DuckDB reads it; if it cannot, the line that breaks the format is located."""

import csv
import io
from collections import Counter
from itertools import islice
from pathlib import Path

import duckdb

from recsys_lora.data.engine import Engine, text
from recsys_lora.data.readers.packed import LONGEST_LINE
from recsys_lora.data.readers.raw_table import Column, Piece, RawTable
from recsys_lora.data.readers.source import Part, check_encoding, scratch_file
from recsys_lora.data.readers.text_format import Dialect
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.words import counted


def delimited_table(part: Part, engine: Engine, form: Dialect, knob: str | None) -> RawTable:
    """Open a file of delimited text; `knob` is the config key of its format."""
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
        """Find the line that breaks the format; if none does, rewrite the file in a format that DuckDB reads."""
        return relation(_rewritten(part, engine, form, knob), "none", ",", '"', '"')

    columns: dict[str, Column] = {}
    for alias, column in aliases.items():
        value = f"CASE WHEN {alias} NOT IN ({', '.join(map(text, form.missing))}) THEN {alias} END"
        columns.setdefault(column, Column(value))  # of two columns with the same name, the first
    piece = Piece(
        part,
        relation(part.path, part.compression, form.separator, form.quote, form.escape),
        lambda row: _place(part, form, row),
        explain,
    )
    repeated = frozenset(column for column, count in Counter(form.columns).items() if count > 1)
    return RawTable(
        part.origin,
        columns,
        [piece],
        headless=not form.header,
        doubtful=form.doubtful,
        repeated=repeated,
        missing_knob=f"{knob}.missing" if knob else "",
    )


def _place(part: Part, form: Dialect, row: int) -> str:
    with part.lines() as stream:
        lines = io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="")
        found = next(islice(form.rows(iter(lines)), row + int(form.header), None), None)
    return f"{part.origin}, line {found[0]}" if found else f"{part.origin}, row {row + 1}"


def _rewritten(part: Part, engine: Engine, form: Dialect, knob: str | None) -> Path:
    """Rewrite a file with commas and quotes, without blank lines; a `UserError` names the first wrong line."""
    check_encoding(part, "utf-8", f"{knob}.encoding" if knob else "")
    target = scratch_file(engine, part.origin)
    width = len(form.columns)
    begun = 0
    try:
        with part.lines() as stream, target.open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
            for begun, fields in form.rows(iter(io.TextIOWrapper(stream, encoding="utf-8", newline=""))):
                if len(fields) != width:
                    raise UserError(
                        f"{part.origin}, line {begun}: {counted(len(fields), 'field')} where "
                        f"{'the header' if form.header else 'the first line'} has {width}: correct the line"
                    )
                writer.writerow(fields)
    except csv.Error as error:
        advice = ""
        if form.escape == '"' and knob:
            advice = f", or say how quotes are written: {knob}.escape=backslash or {knob}.quote=none"
        raise UserError(
            f"{part.origin}, after line {begun}: quotes are not closed or text follows one ({error}): "
            f"correct the line{advice}"
        ) from error
    return target
