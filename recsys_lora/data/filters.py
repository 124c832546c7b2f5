"""Which rows take part before any split: duplicates and k-core filters."""

from dataclasses import replace
from typing import Literal

import polars as pl

from recsys_lora.data.schema import Dropped, RawTables

Duplicates = Literal["keep", "exact", "last"]


def drop_duplicates(tables: RawTables, policy: Duplicates) -> RawTables:
    """Drop repeated rows; the file order of the rest stays.

    Args:
        tables: the reader's.
        policy: `keep` all; drop `exact` copies, equal in every column; keep only the `last` row of a user and an item,
            by time, then by line.
    """
    rows = tables.interactions
    if policy == "keep":
        return tables
    if policy == "exact":
        kept, reason = rows.unique(keep="first", maintain_order=True), "an exact copy of another row"
    else:
        pair = ["user_id", "item_id"]
        lines = rows.with_row_index("_line").sort("timestamp", maintain_order=True)
        kept = lines.unique(pair, keep="last", maintain_order=True).sort("_line").drop("_line")
        reason = "a later row has the same user and item"
    return _with(tables, kept, reason)


def k_core(tables: RawTables, min_user_rows: int, min_item_rows: int) -> RawTables:
    """Drop users and items with too few rows, again and again until all left have enough."""
    rows = tables.interactions
    if min_user_rows <= 1 and min_item_rows <= 1:
        return tables
    enough = (pl.len().over("user_id") >= min_user_rows) & (pl.len().over("item_id") >= min_item_rows)
    while True:
        kept = rows.filter(enough)
        if len(kept) == len(rows):
            break
        rows = kept
    reason = f"outside the core of users with {min_user_rows} and items with {min_item_rows} rows at least"
    return _with(tables, rows, reason)


def _with(tables: RawTables, kept: pl.DataFrame, reason: str) -> RawTables:
    dropped = Dropped(reason, len(tables.interactions) - len(kept))
    return replace(tables, interactions=kept, dropped=[*tables.dropped, dropped])
