"""Raw columns become the contract's: ids as text, ratings and times as numbers, with a line for what is none.

Each role is one SQL expression that is null where the value is missing or cannot be read, and one that tells the two
apart. A file is read once; only where something is wrong is the bad row's own text looked up again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import duckdb

from recsys_lora.data.engine import Engine, text
from recsys_lora.data.readers.raw_table import Column, RawTable
from recsys_lora.utils.errors import UserError

Unit = Literal["seconds", "milliseconds", "microseconds", "nanoseconds"]
UNITS: dict[str, int] = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
LATEST = 253_402_300_799
"""The last second of the year 9999."""
WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
BROKEN = ("FLOAT", "DOUBLE", "DECIMAL")
PLAIN_TEXT = ("VARCHAR", "UUID", "ENUM", "BOOLEAN", "DATE")
BASIC_ISO = ["%Y%m%dT%H%M%S%z", "%Y%m%dT%H%M%SZ", "%Y%m%dT%H%M%S", "%Y%m%d"]
FLOAT32_LARGEST = 3.4e38


@dataclass(frozen=True)
class Role:
    """One column of ours.

    Attributes:
        value: SQL of the value.
        given: SQL that is true where the raw value is there.
        wanted: what the value should be, for messages.
        raw: SQL of the raw value as text.
    """

    value: str
    given: str
    wanted: str
    raw: str


def identifier(table: RawTable, column: str) -> Role:
    """Read ids: text without blanks around it, whole numbers without a decimal point.

    Raises:
        UserError: the column is of a type that cannot be an id.
    """
    found = table.columns[column]
    raw = found.sql
    if _is(found, BROKEN):
        value = f"CASE WHEN {raw} = floor({raw}) THEN CAST(TRY_CAST({raw} AS HUGEINT) AS VARCHAR) END"
        return Role(
            value, f"{raw} IS NOT NULL", "a whole number: ids are whole numbers or text", f"CAST({raw} AS VARCHAR)"
        )
    if not _is(found, (*WHOLE, *PLAIN_TEXT, "BLOB")):
        refuse_type(table, column, "ids are text or whole numbers")
    written = _as_text(found)
    given = f"{raw} IS NOT NULL" if found.kind == "BLOB" else f"trim(coalesce({written}, '')) <> ''"
    return Role(f"nullif(trim({written}), '')", given, "text in UTF-8", f"CAST({raw} AS VARCHAR)")


def rating(table: RawTable, column: str) -> Role:
    """Read ratings: numbers, or true and false as 1 and 0.

    Raises:
        UserError: the column is of a type that cannot be a number.
    """
    found = table.columns[column]
    if not _is(found, (*WHOLE, *BROKEN, "VARCHAR", "BOOLEAN", "ENUM")):
        refuse_type(table, column, "a rating is a number")
    written = f"trim(CAST({found.sql} AS VARCHAR))"
    number = f"TRY_CAST({written} AS DOUBLE)"
    if _is(found, (*WHOLE, *BROKEN)):
        number = f"CAST({found.sql} AS DOUBLE)"
    else:
        number = f"CASE lower({written}) WHEN 'true' THEN 1.0 WHEN 'false' THEN 0.0 ELSE {number} END"
    value = f"CASE WHEN abs({number}) <= {FLOAT32_LARGEST} THEN CAST({number} AS FLOAT) END"
    return Role(value, f"coalesce({written}, '') <> ''", "a number", written)


def timestamp(table: RawTable, engine: Engine, column: str, time: str | None) -> tuple[Role, str]:
    """Read times as seconds since 1970 (UTC).

    Args:
        table: the raw table.
        engine: looks at the first value.
        column: which column.
        time: a unit, "iso", or a strptime format; None finds out from the first value.

    Returns:
        The role, and what the times were taken for.

    Raises:
        UserError: the column is of a type that cannot be a time.
    """
    found = table.columns[column]
    if _is(found, ("TIMESTAMP", "DATE")):
        value = f"CAST(floor(epoch(CAST({found.sql} AS TIMESTAMP))) AS BIGINT)"
        return Role(value, f"{found.sql} IS NOT NULL", "a time", f"CAST({found.sql} AS VARCHAR)"), "dates"
    if not _is(found, (*WHOLE, *BROKEN, "VARCHAR")):
        refuse_type(table, column, "a timestamp is a number, a date or text")
    written = f"trim(CAST({found.sql} AS VARCHAR))"
    taken = time or _taken_for(table, engine, written)
    given = f"coalesce({written}, '') NOT IN ('', 'nan', 'NaN')"
    if taken in UNITS:
        return Role(_seconds(written, UNITS[taken]), given, f"a number of {taken} up to the year 9999", written), taken
    if taken == "iso":
        return Role(_iso(written), given, "a date as 2024-05-31T18:00:00", written), taken
    parsed = f"CAST(floor(epoch(try_strptime({written}, {text(taken)}))) AS BIGINT)"
    return Role(parsed, given, f"a date as {taken}", written), taken


def words(table: RawTable, column: str) -> str:
    """Return SQL of a column as text, stripped; blanks are null.

    Raises:
        UserError: the column holds lists or records.
    """
    found = table.columns[column]
    if not _is(found, (*WHOLE, *BROKEN, *PLAIN_TEXT, "BLOB", "TIMESTAMP")):
        refuse_type(table, column, "a text is wanted")
    return f"nullif(trim({_as_text(found)}, E' \\t\\r\\n'), '')"


def attribute(table: RawTable, column: str) -> str:
    """Return SQL of an attribute: numbers stay numbers, lists become text joined by "|", all else text."""
    found = table.columns[column]
    if _is(found, (*WHOLE, *BROKEN, "BOOLEAN", "DATE", "TIMESTAMP")):
        return found.sql
    if found.kind == "VARCHAR[]":
        return f"nullif(array_to_string({found.sql}, '|'), '')"
    if found.kind == "VARCHAR":
        listed = f"array_to_string(json_extract_string({found.sql}, '$[*]'), '|')"
        value = f"CASE WHEN {found.sql} LIKE '[%]' AND json_valid({found.sql}) THEN {listed} ELSE {found.sql} END"
        return f"nullif(trim({value}), '')"
    return _as_text(found)


def refuse_type(table: RawTable, column: str, wanted: str) -> None:
    """Refuse a column by its type.

    Raises:
        UserError: always.
    """
    raise UserError(f"{table.path}: the column {column!r} is a {table.columns[column].kind}: {wanted}")


def load(engine: Engine, table: RawTable, into: str, roles: Mapping[str, Role], more: Mapping[str, str]) -> int:
    """Read a raw table into one of ours.

    Args:
        engine: reads it.
        table: the raw table.
        into: the new table: `line`, one column a role, the further columns; rows in which a role's value is missing
            are not in it.
        roles: columns that every row needs.
        more: further columns, as SQL.

    Returns:
        How many rows lack a value.

    Raises:
        UserError: names the place of the first value that cannot be read.
    """
    missing = " OR ".join(f"NOT ({role.given})" for role in roles.values())
    unread = " ".join(f"WHEN ({role.value}) IS NULL THEN {n}" for n, role in enumerate(roles.values(), start=2))
    fault = f"CAST(CASE WHEN {missing} THEN 1 {unread} ELSE 0 END AS UTINYINT)"
    values = {alias: role.value for alias, role in roles.items()}
    table.load(engine, into, values | dict(more) | {"_fault": fault})
    faults = dict(engine.rows(f"SELECT _fault, count(*) FROM {into} GROUP BY _fault"))
    for number, (alias, role) in enumerate(roles.items(), start=2):
        if number in faults:
            line = engine.value(f"SELECT min(line) FROM {into} WHERE _fault = {number}")
            _refuse_value(engine, table, alias, role, line)
    if faults.get(1):
        engine.run(f"DELETE FROM {into} WHERE _fault = 1")
    engine.run(f"ALTER TABLE {into} DROP COLUMN _fault")
    return int(faults.get(1, 0))


def _refuse_value(engine: Engine, table: RawTable, alias: str, role: Role, line: int) -> None:
    table.load(engine, "_again", {"raw": role.raw})
    raw = engine.value(f"SELECT raw FROM _again WHERE line = {line}")
    hint = "correct or remove the line"
    if alias == "timestamp":
        other = "milliseconds" if _is_number(raw) else "%d/%m/%Y" if "date" in role.wanted else "iso"
        hint += f", or say what times are, such as data.reader.time={other}"
    raise UserError(f"{table.place(line)}: {alias} is {str(raw)[:60]!r}, not {role.wanted}: {hint}")


def _is(column: Column, kinds: tuple[str, ...]) -> bool:
    """Return whether a column's type is among some, whatever its precision; a list of them is not."""
    return column.kind.startswith(kinds) and not column.kind.endswith("]")


def _is_number(raw: object) -> bool:
    return str(raw).lstrip("-").replace(".", "", 1).isdigit()


def _as_text(column: Column) -> str:
    if column.kind == "BLOB":
        return f"TRY(decode({column.sql}))"
    return column.sql if column.kind == "VARCHAR" else f"CAST({column.sql} AS VARCHAR)"


def _seconds(written: str, unit: int) -> str:
    """Return SQL of whole seconds from the text of a number; large integers stay exact, halves are cut off."""
    exact = f"TRY_CAST(CASE WHEN regexp_full_match({written}, '[+-]?[0-9]+') THEN {written} END AS HUGEINT)"
    whole = f"coalesce({exact}, TRY_CAST(floor(TRY_CAST({written} AS DOUBLE)) AS HUGEINT))"
    seconds = whole if unit == 1 else f"({whole} // {unit} - CAST({whole} % {unit} < 0 AS INTEGER))"
    return f"CASE WHEN abs({seconds}) <= {LATEST} THEN CAST({seconds} AS BIGINT) END"


def _iso(written: str) -> str:
    """Return SQL of seconds from all unambiguous ways to write a date; without a zone it is UTC."""
    usual = f"regexp_replace(replace({written}, ',', '.'), '\\s+Z$', 'Z')"
    formats = ", ".join(text(form) for form in BASIC_ISO)
    when = f"coalesce(TRY_CAST({usual} AS TIMESTAMPTZ), try_strptime({written}, [{formats}]))"
    return f"CAST(floor(epoch({when})) AS BIGINT)"


def _taken_for(table: RawTable, engine: Engine, written: str) -> str:
    """Find out what times are from the first one: dates, or a number too large for the smaller units."""
    query = f"SELECT {written} FROM {table.pieces[0].relation} WHERE coalesce({written}, '') <> '' LIMIT 1"
    try:
        first = str(engine.value(query) or "")
    except duckdb.Error:  # a file that cannot be read is explained when all of it is
        return "seconds"
    if not _is_number(first):
        return "iso" if any(letter.isdigit() for letter in first[:4]) else "seconds"
    if len(first) == 8 and first[:2] in ("19", "20") and first[4:6] <= "12" and first[6:] <= "31":
        return "iso"
    digits = len(first.lstrip("-").split(".")[0])
    return next(
        (unit for unit, size in (("seconds", 11), ("milliseconds", 14), ("microseconds", 17)) if digits <= size),
        "nanoseconds",
    )
