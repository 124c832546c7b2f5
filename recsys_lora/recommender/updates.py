"""New events and items for a run in use, read from tables with raw ids."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_lora.data.known import Known
from recsys_lora.data.live import LiveData
from recsys_lora.recommender.layout import ITEM, RATING, TIMESTAMP, TITLE, USER, Layout, as_text
from recsys_lora.recommender.queries import named
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.words import counted

Rows = pl.DataFrame | Sequence[Sequence[Any] | Mapping[str, Any]]
"""A table, or rows: tuples in a fixed order, or records with the names of columns."""
_LIKED = "liked"
_ISO, _DAY = "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"
_TOO_LARGE = 2**63
_EVENT, _NEW_ITEM = (USER, ITEM, RATING, TIMESTAMP), (ITEM, TITLE)


def events(given: Rows, layout: Layout, positive: float, scale: tuple[float, float]) -> pl.DataFrame:
    """Return events oldest first: user and item as text, rating, and whether the item was liked.

    Args:
        given: see `Recommender.update`.
        layout: the accepted names of its columns.
        positive: the lowest rating that is liked.
        scale: the lowest and the highest rating. If no event has a rating, all are liked and get the highest.

    Raises:
        UserError: a column or a value is missing, a rating is not on the scale, or a timestamp is not a time.
    """
    table = _table(given, layout, _EVENT, (USER, ITEM), "interactions")
    rating = pl.lit(None, dtype=pl.Float32)
    if RATING in table.columns:
        _check_ratings(table[RATING], *scale)
        rating = pl.col(RATING).cast(pl.Float32)
    if TIMESTAMP in table.columns:
        table = table.with_columns(_times(table[TIMESTAMP], layout.time)).sort(TIMESTAMP, maintain_order=True)
    return table.select(
        USER,
        ITEM,
        rating.fill_null(scale[1]).alias(RATING),
        (rating >= positive).fill_null(True).alias(_LIKED),
    )


def moved(data: LiveData, table: pl.DataFrame, items: NDArray[np.int64]) -> LiveData:
    """Return the data, which have all users of `table`, after its events; `items` are their items' numbers (n,)."""
    user = np.array([data.user_numbers[raw] for raw in table[USER]], dtype=np.int64)
    rating, liked = table[RATING].to_numpy(), table[_LIKED].to_numpy()
    by_user = np.argsort(user, kind="stable")
    users, begins = np.unique(user[by_user], return_index=True)
    known: dict[int, Known] = {}
    for number, begin, end in zip(users.tolist(), begins, np.append(begins[1:], len(user)), strict=False):
        own = by_user[begin:end]
        known[number] = data.known(number).then(Known(items[own], rating[own], liked[own]))
    return data.with_known(known).settled()


def items(given: Rows, layout: Layout, data: LiveData) -> pl.DataFrame:
    """Return new items as a table with item_id, title and attributes; see `Recommender.add_items`.

    Raises:
        UserError: an item already exists, is given twice, or has no title; a column is not in the data, or has another
            type there.
    """
    table = _table(given, layout, _NEW_ITEM, _NEW_ITEM, "items").rename({ITEM: "item_id"})
    raws = table["item_id"].to_list()
    if known := [raw for raw in raws if raw in data.item_numbers]:
        raise UserError(f"item {named(known)}: is there already: add only what is new")
    if twice := [raw for raw, count in Counter(raws).items() if count > 1]:
        raise UserError(f"item {named(twice)}: given twice: give each item once")
    allowed = ["item_id", TITLE, *data.item_attributes]
    if unknown := [name for name in table.columns if name not in allowed]:
        raise UserError(f"items: no attribute {', '.join(unknown)}: the data have {', '.join(allowed[1:])}")
    return table.with_columns(_typed(table[name], data.items.schema[name]) for name in table.columns)


def _typed(given: pl.Series, kind: pl.DataType) -> pl.Series:
    """Return a column cast to its type in the data; a `UserError` names the first value that cannot be cast."""
    found = given.cast(kind, strict=False)
    if (odd := found.is_null() & given.is_not_null()).any():
        row = odd.arg_max() or 0
        raise UserError(f"items, row {row + 1}: {given.name} {given[row]!r} is no {kind}, as the data have: correct it")
    return found


def _table(given: Rows, layout: Layout, names: Sequence[str], needed: Sequence[str], what: str) -> pl.DataFrame:
    """Return a table with our names, its ids as text; needed columns must exist and have no missing values."""
    if not isinstance(given, pl.DataFrame):
        columns = _columns([row if isinstance(row, Mapping) else tuple(row) for row in given], names)
        given = pl.DataFrame({name: _column(of) for name, of in columns.items()}, strict=False)
    table = layout.arranged(given, names, what)
    if missing := [layout.called(name) for name in needed if name not in table.columns]:
        raise UserError(f"{what}: no column {', '.join(missing)}: it has {', '.join(given.columns) or 'none'}")
    if empty := [name for name in needed if table[name].null_count()]:
        lacking = counted(table[empty[0]].null_count(), "row")
        raise UserError(f"{what}: {empty[0]} is missing in {lacking}: leave these out")
    return table.with_columns(as_text(table[name]) for name in (USER, ITEM) if name in needed)


def _columns(rows: Sequence[Any], names: Sequence[str]) -> dict[str, list[Any]]:
    """Return the columns of rows: records name them, tuples have those of `names`, in this order."""
    records = [row for row in rows if isinstance(row, Mapping)]
    if records and len(records) < len(rows):
        raise UserError("rows of both kinds, records and tuples: give all of them as one")
    if records:
        return {
            str(name): [row.get(name) for row in rows] for name in dict.fromkeys(key for row in rows for key in row)
        }
    widths = {len(row) for row in rows}
    if len(widths) > 1 or max(widths, default=2) > len(names):
        raise UserError(f"rows of {sorted(widths)} values: give all of them the same of {', '.join(names)}")
    width = max(widths, default=2)
    return dict(zip(names[:width], map(list, zip(*rows, strict=True)) if rows else [[]] * width, strict=True))


def _column(values: Sequence[Any]) -> Sequence[Any]:
    """Return a column of rows; numbers too large for a column, and values of several types, become text."""
    kinds = {type(value) for value in values if value is not None}
    numbers = kinds <= {int, float}
    large = numbers and any(value is not None and abs(value) >= _TOO_LARGE for value in values)
    if not large and (numbers or len(kinds) < 2):
        return values
    return [None if value is None else str(value) for value in values]


def _check_ratings(given: pl.Series, low: float, high: float) -> None:
    numbers = given.cast(pl.Float64, strict=False)
    outside = given.is_not_null() & ~numbers.is_between(low, high).fill_null(False)
    if (row := outside.arg_max()) is not None and outside[row]:
        raise UserError(
            f"interactions, row {row + 1}: rating {given[row]!r} is none from {low:g} to {high:g}: correct it"
        )
    if 0 < given.null_count() < len(given):
        row = given.is_null().arg_max() or 0
        raise UserError(
            f"interactions, row {row + 1}: no rating, while others have one: give it, or leave the column out: "
            "then all are liked"
        )


def _times(given: pl.Series, form: str | None) -> pl.Series:
    """Return timestamps that sort by time: numbers unchanged, dates as text parsed, by `form` where it fits."""
    times = given
    if given.dtype == pl.String:
        times = given.cast(pl.Float64, strict=False)
        if times.null_count():
            forms = [_ISO, _DAY] if form is None else [form, _ISO, _DAY]
            times = pl.select(pl.coalesce(_parsed(given, one) for one in forms)).to_series().alias(given.name)
    odd = times.is_null() | (times.is_nan() if times.dtype.is_float() else False)
    if not (times.dtype.is_numeric() or times.dtype.is_temporal()) or odd.any():
        row = odd.arg_max() or 0
        raise UserError(
            f"interactions, row {row + 1}: timestamp {given[row]!r} is neither a number nor a date as "
            "2024-05-31T18:00:00: correct it"
        )
    return times


def _parsed(given: pl.Series, form: str) -> pl.Series:
    """Return dates as microseconds since 1970 (UTC); null where a date does not match the form or polars rejects it."""
    try:
        return given.str.to_datetime(form, strict=False).dt.epoch("us")
    except pl.exceptions.PolarsError:
        return pl.Series([None] * len(given), dtype=pl.Int64)
