"""What a person has to say where a file calls a column otherwise than we do."""

import re
from difflib import get_close_matches

from recsys_lora.data.readers.raw_table import RawTable
from recsys_lora.utils.errors import UserError

NEEDED = ("user_id", "item_id", "rating", "timestamp")
OPTIONAL = ("rating", "timestamp")
USUAL = {
    "user_id": ("userid", "user-id", "reviewerid", "user", "username", "customer_id", "visitorid"),
    "item_id": (
        "parent_asin",
        "itemid",
        "movieid",
        "asin",
        "isbn",
        "book_id",
        "business_id",
        "product_id",
        "artistid",
        "item",
    ),
    "rating": ("stars", "overall", "score", "book-rating", "stars_y", "weight"),
    "timestamp": ("unixreviewtime", "time", "date", "datetime", "created_at", "date_added", "ts"),
    "title": ("name", "book-title", "app_name", "movie_title", "item_name"),
}
"""How public data sets call our columns, for proposals."""
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


def refuse_doubtful(table: RawTable, ours: str, knob: str) -> None:
    """Refuse a table whose first line looks like data where its columns are asked for by other than their names.

    Raises:
        UserError: nobody said that the first line is a header, and it looks like data.
    """
    if table.doubtful:
        form = FORMATS[knob]
        raise UserError(
            f"{table.path}, line 1: looks like data, not like a header ({', '.join(table.columns)[:80]}): say "
            f"{form}.header=false, and by their places which columns are which: data.{knob}.{ours}=1; or "
            f"{form}.header=true"
        )


def refuse_column(table: RawTable, ours: str, given: str, knob: str) -> None:
    """Say that a needed column is not there, and what can be done.

    Raises:
        UserError: always.
    """
    refuse_doubtful(table, ours, knob)
    names = list(table.columns)
    known = USUAL.get(ours, ()) if knob == "columns" else (*USUAL.get(ours, ()), "id")
    near = next((n for usual in (given.lower(), *known) for n in names if n.lower() == usual), None)
    near = near or next(iter(get_close_matches(given, [n for n in names if n not in NEEDED], n=1, cutoff=0.6)), "NAME")
    advice = override(f"data.{knob}.{ours}", near)
    if ours in OPTIONAL and knob == "columns":
        what = "every row is a positive" if ours == "rating" else "rows stand in the order of the file"
        advice += f", or that there is none (then {what}), data.columns.{ours}=null"
    raise UserError(
        f"{table.path}: no column {given!r} (the file has: {', '.join(names)[:300]}): say which it is, {advice}"
    )
