"""Conversion of raw times to seconds since 1970 (UTC): numbers of any unit, dates, text in any unambiguous form."""

import re

import duckdb

from recsys_lora.data.engine import Engine, text
from recsys_lora.data.readers.columns import BROKEN, WHOLE, Role, is_kind, refuse_type
from recsys_lora.data.readers.names import override
from recsys_lora.data.readers.raw_table import RawTable

UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
DIGITS = {"seconds": 11, "milliseconds": 14, "microseconds": 17, "nanoseconds": 20}
"""The most digits of numbers of each unit."""
LATEST = 253_402_300_799
"""The last second of the year 9999."""
ISO_FORMS = ("%Y%m%dT%H%M%S%z", "%Y-%m", "%G-W%V-%u", "%Y-%j")
ISO_REWRITTEN = (
    (r"\[[A-Za-z_/+-]+\]$", ""),  # Java puts the zone's name after the offset
    (r"\s*[Zz]$", "Z"),
    (r"(\d)t(\d{2})", r"\1T\2"),
    (r"^(\d{4})(\d{2})(\d{2})([T ]?)(\d{2})(\d{2})", r"\1-\2-\3T\5:\6"),
    (r"^(\d{4})(\d{2})(\d{2})$", r"\1-\2-\3"),
    (r"^(\d{4})[./](\d{1,2})[./](\d{1,2})", r"\1-\2-\3"),
    (r"^(\S+)T(\d{2})([Z+-].*)?$", r"\1T\2:00\3"),
    (r"([T ]\d{2}:\d{2})(\d{2})", r"\1:\2"),
    (r"(\d),(\d)", r"\1.\2"),
    (r"\s+([+-]\d{2}:?\d{2})(\s+[A-Z]+)?$", r"\1"),
)
"""Ways to write a date that DuckDB's own cast does not accept, and how to rewrite them."""
USUAL_DATES = (
    "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y-%d-%m", "%d %b %Y", "%d %B %Y", "%b %d, %Y",
    "%B %d, %Y",
)  # fmt: skip
USUAL_FORMS = [
    *(f"{date}{time}" for date in USUAL_DATES for time in ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")),
    "%a %b %d %H:%M:%S %z %Y",
    "%a, %d %b %Y %H:%M:%S %z",
]
"""Suggestions for text in none of the unambiguous forms."""
COMPACT = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(([01]\d|2[0-3])[0-5]\d[0-5]\d)?")
"""20240531 or 20240531180000, which is not a number of seconds."""


def timestamp(
    table: RawTable, engine: Engine, column: str, time: str | None, knob: str | None = None
) -> tuple[Role, str]:
    """Read times as seconds since 1970 (UTC).

    Args:
        table: the raw table.
        engine: looks at the first value.
        column: the file's name for the column.
        time: a unit, "iso", or a strptime format; None detects it from the first value.
        knob: the config key that sets it, for messages; None if it is fixed.

    Returns:
        The role, and the unit or format of the times.

    Raises:
        UserError: the column is of a type that cannot be a time.
    """
    found = table.columns[column]
    if is_kind(found, ("TIMESTAMP", "DATE")):
        value = f"CAST(floor(epoch(CAST({found.sql} AS TIMESTAMP))) AS BIGINT)"
        return Role(column, value, f"{found.sql} IS NOT NULL", "a time", f"CAST({found.sql} AS VARCHAR)"), "dates"
    if not is_kind(found, (*WHOLE, *BROKEN, "VARCHAR")):
        refuse_type(table, column, "a timestamp is a number, a date or text")
    wide = f"CAST({found.sql} AS DOUBLE)" if found.kind == "FLOAT" else found.sql  # as text, a FLOAT is rounded
    written = f"trim(CAST({wide} AS VARCHAR))"
    taken = time or _taken_for(table, engine, written)
    given = f"coalesce({written}, '') NOT IN ('', 'nan', 'NaN')"
    if taken in UNITS:
        value, wanted = _seconds(written, UNITS[taken]), f"a number of {taken} up to the year 9999"
    elif taken == "iso":
        value, wanted = _iso(written), "a date as 2024-05-31T18:00:00"
    else:
        value, wanted = f"CAST(floor(epoch(try_strptime({written}, {text(taken)}))) AS BIGINT)", f"a date as {taken}"

    def advise(raw: str) -> str:
        others = [other for other in _may_be(engine, raw) if other != taken]
        if knob is None or not others:
            return ""
        return f", or say what times are: {' or '.join(override(knob, other) for other in others)}"

    return Role(column, value, given, wanted, written, advise), taken


def _seconds(written: str, unit: int) -> str:
    """Return SQL of whole seconds from the text of a number; large integers stay exact, fractions are cut off."""
    exact = f"TRY_CAST(CASE WHEN regexp_full_match({written}, '[+-]?[0-9]+') THEN {written} END AS HUGEINT)"
    whole = f"coalesce({exact}, TRY_CAST(floor(TRY_CAST({written} AS DOUBLE)) AS HUGEINT))"
    seconds = whole if unit == 1 else f"({whole} // {unit} - CAST({whole} % {unit} < 0 AS INTEGER))"
    return f"CASE WHEN abs({seconds}) <= {LATEST} THEN CAST({seconds} AS BIGINT) END"


def _iso(written: str) -> str:
    """Return SQL of seconds from all unambiguous ways to write a date; those without a zone are in UTC."""
    rewritten = written
    for pattern, other in ISO_REWRITTEN:
        rewritten = f"regexp_replace({rewritten}, {text(pattern)}, {text(other)})"
    forms = ", ".join(map(text, ISO_FORMS))
    casts = f"TRY_CAST({written} AS TIMESTAMPTZ), TRY_CAST({rewritten} AS TIMESTAMPTZ)"
    return f"CAST(floor(epoch(coalesce({casts}, try_strptime({written}, [{forms}])))) AS BIGINT)"


def _taken_for(table: RawTable, engine: Engine, written: str) -> str:
    """Detect the format of times from the first one: a date, or the unit, from how large the number is."""
    query = f"SELECT {written} FROM {table.pieces[0].relation} WHERE coalesce({written}, '') <> '' LIMIT 1"
    try:
        first = str(engine.value(query) or "")
    except duckdb.Error:  # a file that cannot be read is reported when it is loaded
        return "seconds"
    if not _is_number(first):
        return "iso" if any(letter.isdigit() for letter in first[:4]) else "seconds"
    return "iso" if COMPACT.fullmatch(first) else _unit(first)


def _may_be(engine: Engine, raw: str) -> list[str]:
    """Return the formats that times may have if this is one of them."""
    if _is_number(raw):
        return [_unit(raw)]
    if engine.value(f"SELECT {_iso('$1')}", [raw]) is not None:
        return ["iso"]
    return [form for form in USUAL_FORMS if engine.value("SELECT try_strptime($1, $2)", [raw, form]) is not None]


def _unit(number: str) -> str:
    digits = len(str(abs(int(float(number)))))
    return next((unit for unit, size in DIGITS.items() if digits <= size), "nanoseconds")


def _is_number(raw: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(\.\d*)?([eE][+-]?\d{1,2})?", raw) is not None
