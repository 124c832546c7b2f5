"""Events and items that come to a run in use, read from tables with raw ids."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_lora.data.known import Known
from recsys_lora.data.live import LiveData
from recsys_lora.recommender.queries import named
from recsys_lora.utils.errors import UserError

Rows = pl.DataFrame | Sequence[Sequence[Any] | Mapping[str, Any]]
"""A table, or rows: tuples in a known order, or records with the names of columns."""
_USER, _ITEM, _TITLE, _LIKED = "user", "item", "title", "liked"
_RATING, _TIMESTAMP = "rating", "timestamp"
_ISO, _DAY = "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"
_IDS = {_USER: _USER, _ITEM: _ITEM, "user_id": _USER, "item_id": _ITEM}
_EVENT, _NEW_ITEM = (_USER, _ITEM, _RATING, _TIMESTAMP), (_ITEM, _TITLE)


def events(given: Rows, positive: float, scale: tuple[float, float]) -> pl.DataFrame:
    """Return events oldest first: user and item as text, rating, and whether the item was liked.

    Args:
        given: see `Recommender.update`.
        positive: ratings from here on are liked.
        scale: the lowest and the highest rating; events without a rating are liked and get the highest.

    Raises:
        UserError: a column is missing, or a value is, a rating is no number of the scale, or a timestamp no time.
    """
    table = _table(given, _EVENT)
    _need(table, (_USER, _ITEM), "interactions")
    rating = pl.lit(None, dtype=pl.Float32)
    if _RATING in table.columns:
        _check_ratings(table[_RATING], *scale)
        rating = pl.col(_RATING).cast(pl.Float32)
    if _TIMESTAMP in table.columns:
        table = table.with_columns(_times(table[_TIMESTAMP])).sort(_TIMESTAMP, maintain_order=True)
    return table.select(
        pl.col(_USER, _ITEM).cast(pl.String),
        rating.fill_null(scale[1]).alias(_RATING),
        (rating >= positive).fill_null(True).alias(_LIKED),
    )


def moved(data: LiveData, table: pl.DataFrame, items: NDArray[np.int64]) -> LiveData:
    """Return the data after events.

    Args:
        data: it has all of their users.
        table: from `events`.
        items: their items' numbers (n,).
    """
    user = np.array([data.user_numbers[raw] for raw in table[_USER]], dtype=np.int64)
    rating, liked = table[_RATING].to_numpy(), table[_LIKED].to_numpy()
    by_user = np.argsort(user, kind="stable")
    users, begins = np.unique(user[by_user], return_index=True)
    known: dict[int, Known] = {}
    for number, begin, end in zip(users.tolist(), begins, np.append(begins[1:], len(user)), strict=False):
        own = by_user[begin:end]
        known[number] = data.known(number).then(Known(items[own], rating[own], liked[own]))
    return data.with_known(known).settled()


def items(given: Rows, data: LiveData) -> pl.DataFrame:
    """Return new items as a table with item_id, title and attributes.

    Raises:
        UserError: an item is there already, twice, or without a title; or a column is none of the data's.
    """
    table = _table(given, _NEW_ITEM)
    _need(table, _NEW_ITEM, "items")
    table = table.with_columns(pl.col(_ITEM).cast(pl.String)).rename({_ITEM: "item_id"})
    raws = table["item_id"].to_list()
    if known := [raw for raw in raws if raw in data.item_numbers]:
        raise UserError(f"item {named(known)}: is there already: add only what is new")
    if twice := [raw for raw, count in Counter(raws).items() if count > 1]:
        raise UserError(f"item {named(twice)}: given twice: give each item once")
    allowed = ["item_id", _TITLE, *data.item_attributes]
    if unknown := [name for name in table.columns if name not in allowed]:
        raise UserError(f"items: no attribute {', '.join(unknown)}: the data have {', '.join(allowed[1:])}")
    return table


def _table(given: Rows, names: Sequence[str]) -> pl.DataFrame:
    if not isinstance(given, pl.DataFrame):
        columns = _columns([row if isinstance(row, Mapping) else tuple(row) for row in given], names)
        given = pl.DataFrame({name: _as_text(of) if name in _IDS else of for name, of in columns.items()})
    return given.rename({name: ours for name, ours in _IDS.items() if name in given.columns})


def _columns(rows: Sequence[Any], names: Sequence[str]) -> dict[str, list[Any]]:
    """Return the columns of rows: a record names them, a tuple has those of `names`, in this order."""
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


def _as_text(ids: Sequence[Any]) -> list[str | None]:
    return [None if raw is None else str(raw) for raw in ids]


def _check_ratings(given: pl.Series, low: float, high: float) -> None:
    numbers = given.cast(pl.Float64, strict=False)
    outside = given.is_not_null() & ~numbers.is_between(low, high).fill_null(False)
    if (row := outside.arg_max()) is not None and outside[row]:
        raise UserError(
            f"interactions, row {row + 1}: rating {given[row]!r} is none from {low:g} to {high:g}: correct it"
        )


def _times(given: pl.Series) -> pl.Series:
    """Return timestamps as what sorts by time: numbers as they are, dates as text parsed."""
    times = given
    if given.dtype == pl.String:
        times = given.cast(pl.Float64, strict=False)
        if times.null_count():
            times = given.str.to_datetime(_ISO, strict=False).fill_null(given.str.to_datetime(_DAY, strict=False))
    odd = times.is_null() | (times.is_nan() if times.dtype.is_float() else False)
    if not (times.dtype.is_numeric() or times.dtype.is_temporal()) or odd.any():
        row = odd.arg_max() or 0
        raise UserError(
            f"interactions, row {row + 1}: timestamp {given[row]!r} is neither a number nor a date as "
            "2024-05-31T18:00:00: correct it"
        )
    return times


def _need(table: pl.DataFrame, names: Sequence[str], what: str) -> None:
    if missing := [name for name in names if name not in table.columns]:
        raise UserError(f"{what}: no column {', '.join(missing)}: it has {', '.join(table.columns) or 'none'}")
    if empty := [name for name in names if table[name].null_count()]:
        raise UserError(f"{what}: {empty[0]} is missing in {table[empty[0]].null_count()} rows: leave these out")
