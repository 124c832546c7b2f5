"""The format of delimited text: what the user sets, and what the file's first lines show."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from recsys_lora.data.readers.source import Part
from recsys_lora.utils.errors import UserError

Quote = Literal["auto", "double", "none"]
Escape = Literal["double", "backslash"]
SEPARATORS = (",", "\t", ";", "|", "::")
WRITTEN = {"\\t": "\t", "tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
LONGEST = 4
LONGEST_FIELD = 1 << 24
MISSING = ("\\N", "NULL", "null", "NaN", "nan")
"""What databases and pandas write for missing values."""


@dataclass(frozen=True)
class TextFormat:
    r"""What the user sets for a text file; None is detected from its first lines.

    Attributes:
        separator: between two fields, one to four bytes; `tab` and `\t` are a tab.
        encoding: of the text; None is UTF-8, or what a byte order mark says.
        header: whether the first line names the columns; None is True.
        quote: `double` if fields may be in double quotes, `none` if quotes are text; `auto` is `none` for separators of
            several characters, and for tabs unless all fields of the first line are quoted, and `double` for others.
        escape: how a quote in a quoted field is written: `double` as two, `backslash` after a backslash.
        missing: texts that mean a missing value, besides an empty field and those of `MISSING`.
    """

    separator: str | None = None
    encoding: str | None = None
    header: bool | None = None
    quote: Quote | None = None
    escape: Escape | None = None
    missing: Sequence[str] | None = None

    def over(self, other: "TextFormat") -> "TextFormat":
        """Return this format with unset options taken from another file's, except for separator and header."""
        own = {knob: value for knob, value in vars(self).items() if value is not None}
        return replace(other, **{"separator": None, "header": None, **own})


@dataclass(frozen=True)
class Dialect:
    """The detected format of a file.

    Attributes:
        separator: between two fields.
        quote: '"' or "".
        escape: what precedes a quote in a quoted field: '"', a backslash, or "".
        header: whether the first line names the columns.
        columns: the names, stripped; those of a headless file are "1", "2", ...
        missing: fields that mean a missing value.
        doubtful: whether the first line looks like data, and no option says that it is a header.
    """

    separator: str
    quote: str
    escape: str
    header: bool
    columns: list[str]
    missing: tuple[str, ...] = MISSING
    doubtful: bool = False

    def rows(self, lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
        """Yield each row of a text that is not blank, with the line on which it starts; the header, too."""
        if not self.quote:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, line.rstrip("\r\n").split(self.separator)
            return
        csv.field_size_limit(max(csv.field_size_limit(), LONGEST_FIELD))
        escaped = {"doublequote": False, "escapechar": "\\"} if self.escape == "\\" else {"strict": True}
        reader = csv.reader(lines, delimiter=self.separator, **escaped)
        start = 1
        for fields in reader:
            if len(fields) > 1 or any(map(str.strip, fields)):
                yield start, fields
            start = reader.line_num + 1


def dialect(
    part: Part, given: TextFormat, wanted: Sequence[str], knob: str | None, usual: str | None = None
) -> Dialect:
    """Detect a file's format.

    Args:
        part: the file.
        given: what the user sets.
        wanted: names of columns that are looked for, which help to detect the separator.
        knob: the config key of the format, for messages; None if the format is fixed.
        usual: a separator to try first.

    Raises:
        UserError: no separator fits, or it cannot be one.
    """
    sample = part.sample.decode("utf-8", errors="replace")
    first = next((line for line in sample.splitlines() if line.strip()), "")
    separator = _separator(part.origin, first, given.separator, usual, wanted, knob)
    usually = len(separator) == 1 and (separator != "\t" or _all_quoted(first.split(separator)))
    quoted = {"double": True, "none": False}.get(given.quote or "auto", usually)
    if quoted and len(separator) > 1:
        raise UserError(f"{knob}.quote=double: only with a separator of one character, not {separator!r}")
    escape = ("\\" if given.escape == "backslash" else '"') if quoted else ""
    missing = (*MISSING, *(given.missing or ()))
    headless = Dialect(separator, '"' if quoted else "", escape, False, [], missing)
    _, fields = next(headless.rows(iter(io.StringIO(first))), (1, [first]))
    if given.header is False:
        return replace(headless, columns=[str(number + 1) for number in range(len(fields))])
    columns = [field.strip() for field in fields]
    return replace(headless, header=True, columns=columns, doubtful=given.header is None and _looks_like_data(columns))


def _all_quoted(fields: Sequence[str]) -> bool:
    return all(len(field.strip()) > 1 and field.strip()[0] == field.strip()[-1] == '"' for field in fields)


def _looks_like_data(columns: Sequence[str]) -> bool:
    return any(column.lstrip("-").replace(".", "", 1).isdigit() for column in columns)


def _separator(
    path: Path, line: str, given: str | None, usual: str | None, wanted: Sequence[str], knob: str | None
) -> str:
    if given is not None:
        separator = WRITTEN.get(given, given)
        if not separator or len(separator.encode()) > LONGEST or set(separator) & set('"\r\n\\'):
            raise UserError(f"{knob}.separator={given!r}: one to {LONGEST} bytes, no quote, line break or backslash")
        if separator not in line:
            advice = f"say what separates fields, {knob}.separator" if knob else "is this the right file?"
            raise UserError(f"{path}, line 1: no {separator!r} in {line[:60]!r}: {advice}")
        return separator
    usual = WRITTEN.get(usual, usual) if usual else "\t" if ".tsv" in path.suffixes else ","
    if usual not in SEPARATORS and usual in line:
        return usual
    order = sorted(SEPARATORS, key=lambda separator: separator != usual)

    def fit(separator: str) -> tuple[int, int]:
        fields = [field.strip().strip('"') for field in line.split(separator)]
        return len(set(fields) & set(wanted)), len(fields)

    best = max(order, key=fit)  # the usual one if several fit equally well
    if best not in line:
        other = "space" if " " in line.strip() else "CHARACTER"
        advice = f"say what separates fields, {knob}.separator={other}" if knob else "is this the right file?"
        raise UserError(f"{path}, line 1: none of , tab ; | :: in {line[:60]!r}: {advice}")
    return best
