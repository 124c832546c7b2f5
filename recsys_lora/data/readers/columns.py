"""Raw columns as the contract wants them: ids and words as text, ratings as numbers; errors name the line.

Each role has one SQL expression that is null if the value is missing or cannot be read, and one that tells the two
apart. A file is read once; the text of a bad row is looked up again only if something is wrong.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from recsys_lora.data.engine import Engine
from recsys_lora.data.readers.raw_table import Column, RawTable
from recsys_lora.utils.errors import UserError

WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
BROKEN = ("FLOAT", "DOUBLE", "DECIMAL")
PLAIN_TEXT = ("VARCHAR", "UUID", "ENUM", "BOOLEAN", "DATE")
LIKED, NOT_LIKED = ("true", "t", "yes", "y"), ("false", "f", "no", "n")
FLOAT32_LARGEST = 3.4e38
DECIMAL_COMMA = r"^([+-]?\d{1,2}),(\d{1,2})$"
GROUPED = re.compile(r"[+-]?\d{1,3}([,' \u00a0\u202f’]\d{3})+(\.\d+)?")
"""A number such as 1,234 or 1 234.5, which could also be two numbers."""
MISSING, UNWANTED, UNREAD = 1, 2, 3
"""What is wrong with a row: a value is missing, `where` excludes it, or (from `UNREAD` on) its nth value is bad."""
OFTEN_MISSING = (
    "na", "n/a", "#n/a", "<na>", "nat", "none", "nil", "undefined", "missing", "unknown", "-", "--", "?", ".",
)  # fmt: skip
"""Texts that mean a missing value in some tables, and are values in others."""


@dataclass(frozen=True)
class Role:
    """One column of the contract.

    Attributes:
        column: its name in the file.
        value: SQL of the value.
        given: SQL that is true if the raw value is there.
        wanted: what the value should be, for messages.
        raw: SQL of the raw value as text.
        advise: returns further advice on a raw value that cannot be read; "" for none.
    """

    column: str
    value: str
    given: str
    wanted: str
    raw: str
    advise: Callable[[str], str] = lambda raw: ""


@dataclass(frozen=True)
class Left:
    """How many rows of a raw table were left out.

    Attributes:
        missing: rows without a value that every row needs.
        unwanted: rows that `where` excludes.
    """

    missing: int
    unwanted: int


def identifier(table: RawTable, column: str) -> Role:
    """Read ids: text without surrounding blanks, whole numbers without a decimal point.

    Raises:
        UserError: the column is of a type that cannot be an id.
    """
    found = table.columns[column]
    raw = found.sql
    if is_kind(found, BROKEN):
        value = f"CASE WHEN {raw} = floor({raw}) THEN CAST(TRY_CAST({raw} AS HUGEINT) AS VARCHAR) END"
        return Role(
            column,
            value,
            f"{raw} IS NOT NULL",
            "a whole number: ids are whole numbers or text",
            f"CAST({raw} AS VARCHAR)",
        )
    if not is_kind(found, (*WHOLE, *PLAIN_TEXT, "BLOB")):
        refuse_type(table, column, "ids are text or whole numbers")
    written = _as_text(found)
    given = f"{raw} IS NOT NULL" if found.kind == "BLOB" else f"trim(coalesce({written}, '')) <> ''"
    return Role(column, f"nullif(trim({written}), '')", given, "text in UTF-8", f"CAST({raw} AS VARCHAR)")


def rating(table: RawTable, column: str) -> Role:
    """Read ratings: numbers, or true and false, yes and no as 1 and 0; 4,5 is 4.5, and 1,000 is not a number.

    Raises:
        UserError: the column is of a type that cannot be a number.
    """
    found = table.columns[column]
    if not is_kind(found, (*WHOLE, *BROKEN, "VARCHAR", "BOOLEAN", "ENUM")):
        refuse_type(table, column, "a rating is a number")
    written = f"trim(CAST({found.sql} AS VARCHAR))"
    number = f"TRY_CAST(regexp_replace({written}, '{DECIMAL_COMMA}', '\\1.\\2') AS DOUBLE)"
    if is_kind(found, (*WHOLE, *BROKEN)):
        number = f"CAST({found.sql} AS DOUBLE)"
    else:
        said = f"lower({written})"
        number = f"CASE WHEN {said} IN {LIKED} THEN 1.0 WHEN {said} IN {NOT_LIKED} THEN 0.0 ELSE {number} END"
    value = f"CASE WHEN abs({number}) <= {FLOAT32_LARGEST} THEN CAST({number} AS FLOAT) END"
    return Role(column, value, f"coalesce({written}, '') <> ''", "a number", written)


def words(table: RawTable, column: str) -> str:
    """Return SQL of a column as text, stripped; blanks are null.

    Raises:
        UserError: the column holds lists or records.
    """
    found = table.columns[column]
    if not is_kind(found, (*WHOLE, *BROKEN, *PLAIN_TEXT, "BLOB", "TIMESTAMP")):
        refuse_type(table, column, "a text is wanted")
    return f"nullif(trim({_as_text(found)}, E' \\t\\r\\n'), '')"


def attribute(table: RawTable, column: str) -> str:
    """Return SQL of an attribute: numbers stay numbers, lists become text joined by "|", all else text."""
    found = table.columns[column]
    if is_kind(found, (*WHOLE, *BROKEN, "BOOLEAN", "DATE", "TIMESTAMP")):
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


def load(
    engine: Engine,
    table: RawTable,
    into: str,
    roles: Mapping[str, Role],
    more: Mapping[str, str],
    where: str = "TRUE",
) -> Left:
    """Read a raw table into a new table.

    Args:
        engine: reads it.
        table: the raw table.
        into: the new table: `line`, one column per role, then the further columns; rows that lack a role's value are
            left out.
        roles: columns that every row needs.
        more: further columns, as SQL.
        where: SQL of the rows to keep; values of the others are not checked.

    Returns:
        How many rows were left out.

    Raises:
        UserError: a value cannot be read; names the place of the first.
    """
    missing = " OR ".join(f"NOT ({role.given})" for role in roles.values())
    unread = " ".join(f"WHEN ({role.value}) IS NULL THEN {n}" for n, role in enumerate(roles.values(), start=UNREAD))
    fault = f"CASE WHEN NOT ({where}) THEN {UNWANTED} WHEN {missing} THEN {MISSING} {unread} ELSE 0 END"
    values = {alias: role.value for alias, role in roles.items()}
    table.load(engine, into, values | dict(more) | {"_fault": f"CAST({fault} AS UTINYINT)"})
    faults = dict(engine.rows(f"SELECT _fault, count(*) FROM {into} GROUP BY _fault"))
    for number, (alias, role) in enumerate(roles.items(), start=UNREAD):
        if number in faults:
            line = engine.value(f"SELECT min(line) FROM {into} WHERE _fault = {number}")
            _refuse_value(engine, table, alias, role, line)
    if faults.keys() & {MISSING, UNWANTED}:
        engine.run(f"DELETE FROM {into} WHERE _fault <> 0")
    engine.run(f"ALTER TABLE {into} DROP COLUMN _fault")
    return Left(int(faults.get(MISSING, 0)), int(faults.get(UNWANTED, 0)))


def _refuse_value(engine: Engine, table: RawTable, alias: str, role: Role, line: int) -> None:
    table.load(engine, "_again", {"raw": role.raw})
    raw = str(engine.value(f"SELECT raw FROM _again WHERE line = {line}"))
    todo = "correct or remove the line"
    if GROUPED.fullmatch(raw):
        todo = f"write it without separators of thousands, {re.sub(r'[^0-9+.-]', '', raw)}"
    advice = role.advise(raw)
    if table.missing_knob and raw.lower() in OFTEN_MISSING:
        advice += f""", or say that it stands for no value, '{table.missing_knob}=["{raw}"]'"""
    column = "" if role.column == alias else f", column {role.column!r}"
    raise UserError(f"{table.place(line)}{column}: {alias} is {raw[:60]!r}, not {role.wanted}: {todo}{advice}")


def is_kind(column: Column, kinds: tuple[str, ...]) -> bool:
    """Return whether a column's type is among `kinds`, whatever its precision; a list of them is not."""
    return column.kind.startswith(kinds) and not column.kind.endswith("]")


def _as_text(column: Column) -> str:
    if column.kind == "BLOB":
        return f"TRY(decode({column.sql}))"
    return column.sql if column.kind == "VARCHAR" else f"CAST({column.sql} AS VARCHAR)"
