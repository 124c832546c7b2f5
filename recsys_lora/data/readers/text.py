"""Text files as they come: plain or gzipped, in an encoding somebody chose, with lines somebody broke."""

import codecs
import gzip
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from recsys_lora.errors import UserError

GZIP_MAGIC = b"\x1f\x8b"


def is_gzipped(path: Path) -> bool:
    """Tell whether a file is gzipped, by its first bytes, whatever it is called."""
    with path.open("rb") as file:
        return file.read(2) == GZIP_MAGIC


def read_bytes(path: Path) -> bytes:
    """Return a file's content, unpacked if it is gzipped.

    Raises:
        UserError: the file is empty or its end is missing.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if is_gzipped(path) else path.read_bytes()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: the gzipped file is damaged or cut off ({error}): download it again") from error
    if not content.strip():
        raise UserError(f"{path}: the file is empty: download it again or name another")
    return content


def decode(content: bytes, encoding: str, path: Path, knob: str = "data.reader.encoding") -> str:
    """Decode a file's content.

    Raises:
        UserError: names the line that is not in `encoding`, or says that the encoding does not exist.
    """
    try:
        codecs.lookup(encoding)
        return content.decode(encoding).removeprefix("\ufeff")
    except LookupError as error:
        raise UserError(f"{knob}={encoding}: no such encoding: try utf-8, latin-1 or cp1252") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = content[error.start : error.start + 1].hex()
        raise UserError(
            f"{path}, line {line}: byte 0x{found} is not {encoding}: say the file's encoding, such as {knob}=latin-1"
        ) from error


def split_lines(text: str, separator: str, columns: Sequence[str], path: Path) -> pl.DataFrame:
    """Split lines into string columns; for formats without quoting.

    Returns:
        One string column a name, in file order; blank lines are left out.

    Raises:
        UserError: names the first line that has another number of fields.
    """
    lines = pl.DataFrame({"line": text.split("\n")}).with_row_index("number", offset=1)
    lines = lines.with_columns(pl.col("line").str.strip_chars_end("\r")).filter(pl.col("line").str.len_bytes() > 0)
    fields = lines.select("number", "line", pl.col("line").str.split(separator).alias("fields"))
    wrong = fields.filter(pl.col("fields").list.len() != len(columns)).head(1)
    if not wrong.is_empty():
        number, line, found = wrong.row(0)
        raise UserError(
            f"{path}, line {number}: {len(found)} fields where {len(columns)} ({', '.join(columns)}) separated by "
            f"{separator!r} should be: {line[:60]!r}"
        )
    return fields.select(pl.col("fields").list.get(i).alias(column) for i, column in enumerate(columns))


def numbers(table: pl.DataFrame, column: str, dtype: pl.DataType, where: Callable[[int], str]) -> pl.Series:
    """Turn a string column into numbers.

    Args:
        table: string columns.
        column: which one.
        dtype: what to turn it into; an integer type takes "12.0", too.
        where: tells the place of a row of the table, for the message.

    Raises:
        UserError: names the first row that is no number, or not finite.
    """
    text = table[column].str.strip_chars()
    values = text.cast(pl.Float64, strict=False)
    good = values.is_finite().fill_null(False)
    if not good.all():
        row = int(good.to_numpy().argmin())
        raise UserError(f"{where(row)}: {column} is {table[column][row]!r}, not a number: correct or remove the line")
    if dtype.is_integer():
        exact = text.cast(pl.Int64, strict=False)  # beyond 2^53 a float is not exact
        return exact.fill_null(values.floor().cast(pl.Int64, strict=False)).cast(dtype).alias(column)
    return values.cast(dtype).alias(column)
