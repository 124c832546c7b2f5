"""Matching a file's column names with ours, and advice on what to set if they differ."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from recsys_lora.data.readers.raw_table import RawTable
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.words import counted

Names = Mapping[str, str | int | None]
"""The files' names for our columns; a number is a position, from 1."""
NEEDED = ("user_id", "item_id", "rating", "timestamp")
OPTIONAL = ("rating", "timestamp")
USUAL = {
    "user_id": (
        "user", "uid", "username", "reviewer", "reviewerid", "customer", "customerid", "visitorid", "clientid",
        "memberid", "accountid",
    ),
    "item_id": (
        "parentasin", "item", "iid", "movieid", "asin", "isbn", "bookid", "businessid", "product", "productid", "sku",
        "articleid", "artistid", "videoid", "animeid", "gameid", "appid", "newsid", "trackid", "songid", "stockcode",
        "adgroupid", "venueid", "locationid",
    ),
    "rating": (
        "stars", "overall", "score", "bookrating", "starsy", "isrecommended", "clk", "click", "watchratio", "weight",
    ),
    "timestamp": (
        "unixreviewtime", "time", "date", "datetime", "createdat", "dateadded", "ts", "tdat", "orderedat", "orderdate",
        "purchasedate", "invoicedate", "eventtime", "when",
    ),
    "title": ("name", "booktitle", "appname", "movietitle", "itemname", "productname", "prodname", "producttitle"),
}  # fmt: skip
"""Names of our columns in public data sets, as `_plain` writes them, for suggestions."""
WITHOUT = {"rating": "every row is a positive", "timestamp": "rows stand in the order of the file"}
FORMATS = {
    "columns": "data.reader",
    "item_columns": "data.reader.item_format",
    "user_columns": "data.reader.user_format",
}
"""The config key of each table's format, by that of its columns."""


def override(key: str, value: str) -> str:
    """Write an override that can be pasted into a shell: Hydra and the shell take the value as it is."""
    plain = re.fullmatch(r"[\w%./-]+", value) and not value.isdigit()
    return f"{key}={value}" if plain else f"'{key}=\"{value}\"'"


def columns_of(table: RawTable, ours: Sequence[str], names: Names, knob: str) -> dict[str, str]:
    """Return a file's names for the columns of ours that are needed.

    Args:
        table: the raw table.
        ours: the columns.
        names: the file's names for them, where they differ.
        knob: the config key of `names`.

    Raises:
        UserError: columns are missing; names all of them.
    """
    found = {column: column_of(table, column, names, knob) for column in ours}
    if lacking := {column: str(names.get(column) or column) for column, name in found.items() if name is None}:
        refuse_columns(table, lacking, knob)
    return {column: name for column, name in found.items() if name is not None}


def column_of(table: RawTable, ours: str, names: Names, knob: str) -> str | None:
    """Return a file's name for a column of ours; None if it is missing.

    Raises:
        UserError: its position does not exist, or two columns have its name.
    """
    given = names.get(ours, ours)
    places = list(table.columns)
    if table.headless and given == ours and knob == "columns" and ours in NEEDED:
        given = NEEDED.index(ours) + 1
    elif table.headless and given == ours:
        given = {"item_id": 1, "user_id": 1, "title": 2}.get(ours)
    if isinstance(given, int) or (table.headless and str(given).isdigit()):
        refuse_doubtful(table, ours, knob)
        given = int(str(given))
        if not 1 <= given <= len(places):
            raise UserError(
                f"{table.path}: has {counted(len(places), 'column')}: data.{knob}.{ours}={given} is none of them"
            )
        return places[given - 1]
    for candidate in (str(name) for name in (given, ours) if name is not None):
        if candidate in table.repeated:
            raise UserError(f"{table.path}, line 1: the header has {candidate!r} more than once: rename one of them")
        if candidate in table.columns:
            return candidate
    return None


def refuse_doubtful(table: RawTable, ours: str, knob: str) -> None:
    """Refuse a table whose first line looks like data if a column is not selected by its name.

    Raises:
        UserError: the first line looks like data, and no option says that it is a header.
    """
    if table.doubtful:
        form = FORMATS[knob]
        raise UserError(
            f"{table.path}, line 1: looks like data, not like a header ({', '.join(table.columns)[:80]}): say "
            f"{form}.header=false, and by their places which columns are which: data.{knob}.{ours}=1; or "
            f"{form}.header=true"
        )


def refuse_columns(table: RawTable, lacking: Mapping[str, str], knob: str) -> None:
    """Say which needed columns are missing, and what to do about all of them at once.

    Args:
        table: the raw table.
        lacking: the names that were looked for, by ours.
        knob: the config key that maps the table's columns.

    Raises:
        UserError: always.
    """
    refuse_doubtful(table, next(iter(lacking)), knob)
    left = [name for name in table.columns if name and name not in NEEDED]
    advice = []
    for ours, given in lacking.items():
        near = _near(ours, given, left, knob)
        left = [name for name in left if name != near]
        advice.append(override(f"data.{knob}.{ours}", near or ("NUMBER" if table.headless else "NAME")))
    none = [ours for ours in lacking if ours in OPTIONAL and knob == "columns"]
    if without := "; ".join(f"data.{knob}.{ours}=null where there is none: then {WITHOUT[ours]}" for ours in none):
        without = f" ({without})"
    headless = not table.headless and not any(map(_is_ours, table.columns))
    first_row = f"; or, if these are no names but the first row, {FORMATS[knob]}.header=false" if headless else ""
    names = ", ".join(name or repr(name) for name in table.columns)[:300]
    raise UserError(
        f"{table.path}: no column {', '.join(map(repr, lacking.values()))} (the file has: {names}): say which it is, "
        f"{' '.join(advice)}{without}{first_row}"
    )


def _near(ours: str, given: str, names: Sequence[str], knob: str) -> str | None:
    """Return the file's column that is most likely meant."""
    known = USUAL.get(ours, ()) if knob == "columns" else (*USUAL.get(ours, ()), "id")
    near = next((n for usual in (_plain(given), *known) for n in names if _plain(n) == usual), None)
    return near or next(iter(get_close_matches(given, names, n=1, cutoff=0.6)), None)


def _is_ours(name: str) -> bool:
    return any(_plain(name) in (_plain(ours), *usual, "id") for ours, usual in USUAL.items())


def _plain(name: str) -> str:
    """Return a name in lower case, without underscores and blanks."""
    return re.sub(r"[\W_]+", "", name.lower())
