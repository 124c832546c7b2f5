"""Which rows take part before any split: duplicates and k-core filters."""

from collections.abc import Sequence
from typing import Literal

from recsys_lora.data.engine import Engine
from recsys_lora.data.schema import Dropped

Duplicates = Literal["keep", "exact", "last"]
ROWS = "rows"


def drop_duplicates(engine: Engine, policy: Duplicates, interactions: str = "", texts: Sequence[str] = ()) -> Dropped:
    """Drop repeated rows of the table `rows`; the file order of the rest stays.

    Args:
        engine: whose table it is.
        policy: `keep` all; drop `exact` copies, equal in every column; keep only the `last` row of a user and an item,
            by time, then by line.
        interactions: the reader's table, which has the texts.
        texts: columns of it that have to be equal, too.
    """
    reasons = {"exact": "an exact copy of another row", "last": "a later row has the same user and item"}
    if policy == "keep":
        return Dropped("", 0)
    every = f"{ROWS} JOIN (SELECT line, {', '.join(texts)} FROM {interactions}) USING (line)" if texts else ROWS
    equal = ", ".join(["user", "item", "rating", "timestamp", *texts])
    chosen = f"min(line) AS line FROM {every} GROUP BY {equal}"
    if policy == "last":
        chosen = f"max_by(line, (timestamp, line)) AS line FROM {ROWS} GROUP BY user, item"
    return _keep(engine, f"SEMI JOIN (SELECT {chosen}) USING (line)", reasons[policy])


def k_core(engine: Engine, min_user_rows: int, min_item_rows: int) -> Dropped:
    """Drop users and items with too few rows, again and again until all left have enough."""
    reason = f"outside the core of users with {min_user_rows} and items with {min_item_rows} rows at least"
    dropped = 0
    while min_user_rows > 1 or min_item_rows > 1:
        users, items = (
            f"SEMI JOIN (SELECT {column} FROM {ROWS} GROUP BY {column} HAVING count(*) >= {least}) USING ({column})"
            for column, least in (("user", min_user_rows), ("item", min_item_rows))
        )
        now = _keep(engine, f"{users} {items}", reason).rows
        dropped += now
        if not now:
            break
    return Dropped(reason, dropped)


def _keep(engine: Engine, condition: str, reason: str) -> Dropped:
    before = engine.count(ROWS)
    engine.run(f"CREATE OR REPLACE TABLE kept AS SELECT * FROM {ROWS} {condition}")
    engine.run(f"DROP TABLE {ROWS}")
    engine.run(f"ALTER TABLE kept RENAME TO {ROWS}")
    return Dropped(reason, before - engine.count(ROWS))
