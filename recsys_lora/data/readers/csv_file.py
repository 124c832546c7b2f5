"""CSV files, with a line number for all that can be wrong in them."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from recsys_lora.data.readers.text import decode, read_bytes
from recsys_lora.errors import UserError


def read_csv(path: Path, separator: str, encoding: str) -> pl.DataFrame:
    """Read a CSV file with a header; fields may be in double quotes.

    Returns:
        String columns; an empty field is null.

    Raises:
        UserError: the file is empty, not in the encoding, or a line has another number of fields than the header.
    """
    text = decode(read_bytes(path), encoding, path)
    try:
        table = pl.read_csv(io.BytesIO(text.encode()), separator=separator, infer_schema=False, raise_if_empty=True)
    except pl.exceptions.PolarsError as error:
        _refuse_ragged(path, text, separator)
        raise UserError(f"{path}: cannot be read as CSV: {str(error).splitlines()[0]}") from error
    if table.is_empty():
        raise UserError(f"{path}: has a header and no rows")
    if table.width == 1 and not text.count(separator):
        first = text.split("\n", 1)[0][:60]
        raise UserError(
            f"{path}, line 1: no {separator!r} in {first!r}: say what separates fields, data.reader.separator"
        )
    if table[:, -1].null_count():  # a line that is too short is filled up
        _refuse_ragged(path, text, separator)
    return table


def row_place(path: Path, separator: str, encoding: str, row: int) -> str:
    """Tell the file and line of a row, counted from 0; a row may take several lines."""
    starts = (start for start, _ in _rows(decode(read_bytes(path), encoding, path), separator))
    for index, start in enumerate(starts):
        if index == row + 1:  # the header is the first
            return f"{path}, line {start}"
    return f"{path}, row {row + 1}"


def _rows(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row with the line on which it starts; a blank line is a row without fields, as polars counts it."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    start = 1
    for fields in reader:
        yield start, fields
        start = reader.line_num + 1


def _refuse_ragged(path: Path, text: str, separator: str) -> None:
    rows = _rows(text, separator)
    _, header = next(rows)
    for start, fields in rows:
        if fields and len(fields) != len(header):
            raise UserError(
                f"{path}, line {start}: {len(fields)} fields where the header has {len(header)}: correct the line"
            )
