"""Filters that are applied before any split: duplicates and k-core."""

from collections.abc import Sequence
from typing import Literal

from recsys_lora.data.engine import Engine
from recsys_lora.data.schema import Dropped

Duplicates = Literal["keep", "exact", "last"]
ROWS = "rows"


def drop_duplicates(engine: Engine, policy: Duplicates, interactions: str = "", texts: Sequence[str] = ()) -> Dropped:
    """Drop duplicate rows of the table `rows`; the others keep their order.

    Args:
        engine: holds the table.
        policy: `keep` all rows, drop `exact` copies (equal in every column), or keep only each pair's `last` row, by
            time, then by line.
        interactions: the reader's table, which has the texts.
        texts: its text columns, which have to be equal, too.
    """
    if policy == "keep":
        return Dropped("", 0)
    every = f"{ROWS} JOIN (SELECT line, {', '.join(texts)} FROM {interactions}) USING (line)" if texts else ROWS
    equal = ", ".join(["user", "item", "rating", "timestamp", *texts])
    reason, chosen = "an exact copy of another row", f"min(line) FROM {every} GROUP BY {equal}"
    if policy == "last":
        reason = "a later row has the same user and item"
        chosen = f"max_by(line, (timestamp, line)) FROM {ROWS} GROUP BY user, item"
    return Dropped(reason, engine.delete(ROWS, f"line NOT IN (SELECT {chosen})"))


def k_core(engine: Engine, min_user_rows: int, min_item_rows: int) -> Dropped:
    """Drop users and items with too few rows, repeatedly until all that remain have enough."""
    few = " OR ".join(
        f"{column} IN (SELECT {column} FROM {ROWS} GROUP BY {column} HAVING count(*) < {least})"
        for column, least in (("user", min_user_rows), ("item", min_item_rows))
    )
    dropped, now = 0, 1
    while now and max(min_user_rows, min_item_rows) > 1:
        now = engine.delete(ROWS, few)
        dropped += now
    reason = f"outside the core of users with {min_user_rows} and items with {min_item_rows} rows at least"
    return Dropped(reason, dropped)
