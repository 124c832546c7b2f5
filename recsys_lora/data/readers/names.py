"""What a person has to say where a file calls a column otherwise than we do."""

from difflib import get_close_matches

from recsys_lora.data.readers.raw_table import RawTable
from recsys_lora.data.readers.text_format import looks_like_data
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


def refuse_column(table: RawTable, ours: str, given: str, knob: str) -> None:
    """Say that a needed column is not there, and what can be done.

    Raises:
        UserError: always.
    """
    names = list(table.columns)
    if looks_like_data(names):
        raise UserError(
            f"{table.path}, line 1: looks like data, not like a header ({', '.join(names)[:80]}): say "
            f"data.reader.header=false, and by their places which columns are which: data.{knob}.{ours}=1"
        )
    near = next((n for usual in USUAL.get(ours, ()) for n in names if n.lower() == usual), None)
    near = near or next(iter(get_close_matches(given, [n for n in names if n not in NEEDED], n=1, cutoff=0.6)), "NAME")
    advice = (
        f"data.{knob}.{ours}={near}" if near.replace("-", "_").isidentifier() else f"'data.{knob}.{ours}=\"{near}\"'"
    )
    if ours in OPTIONAL and knob == "columns":
        what = "every row is a positive" if ours == "rating" else "rows stand in the order of the file"
        advice += f", or that there is none (then {what}), data.columns.{ours}=null"
    raise UserError(
        f"{table.path}: no column {given!r} (the file has: {', '.join(names)[:300]}): say which it is, {advice}"
    )
