"""What `prepare` reports: counts per split, dates, ties, ratings outside the scale."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from recsys_lora.data.engine import Engine
from recsys_lora.data.schema import SPLITS, Dropped, Remark
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.words import counted

OffScale = Literal["keep", "drop", "error"]
EARLY = 315_532_800
"""1980: if all rows are earlier, their times are probably in another unit."""


def describe_splits(engine: Engine) -> list[dict[str, Any]]:
    """Return one record per split of the table `final`.

    Each has rows, users, items, positives (a share), seen (user and item both occur in train), users_with_both_classes,
    no_history (rows before their user's first positive), and tied (rows that share user and time with another).
    """
    for column in ("user", "item"):
        engine.run(
            f"CREATE OR REPLACE TABLE train_{column}s AS SELECT DISTINCT {column} FROM final WHERE split = 'train'"
        )
    engine.run(
        "CREATE OR REPLACE TABLE per_user AS SELECT user, split, count(*) AS n, sum(label) AS p FROM final GROUP BY ALL"
    )
    engine.run(
        "CREATE OR REPLACE TABLE firsts AS SELECT user, min(place) AS first FROM final WHERE label = 1 GROUP BY user"
    )
    engine.run(
        "CREATE OR REPLACE TABLE ties AS SELECT split, sum(n) AS tied FROM (SELECT split, count(*) AS n, "
        "sum(count(*)) OVER (PARTITION BY user, timestamp) AS every FROM final WHERE sampled IS NULL "
        "GROUP BY user, timestamp, split) WHERE every > 1 GROUP BY split",
        "counting ties",
        (engine.count("final"), "rows"),
    )
    columns = {
        "rows": "SELECT split, count(*) FROM final GROUP BY split",
        "users": "SELECT split, count(*) FROM per_user GROUP BY split",
        "items": "SELECT split, count(*) FROM (SELECT DISTINCT split, item FROM final) GROUP BY split",
        "positives": "SELECT split, round(avg(label), 4) FROM final GROUP BY split",
        "seen": "SELECT split, count(*) FROM final SEMI JOIN train_users USING (user) "
        "SEMI JOIN train_items USING (item) GROUP BY split",
        "users_with_both_classes": "SELECT split, count(*) FROM per_user WHERE p > 0 AND p < n GROUP BY split",
        "no_history": "SELECT split, count(*) FROM final LEFT JOIN firsts USING (user) "
        "WHERE first IS NULL OR place <= first GROUP BY split",
        "tied": "SELECT split, tied FROM ties",
    }
    found = {column: dict(engine.rows(query)) for column, query in columns.items()}
    return [
        {"split": split} | {column: _plain(column, values.get(split, 0)) for column, values in found.items()}
        for split in SPLITS
    ]


def apply_scale(
    engine: Engine, scale: Mapping[str, float] | None, off_scale: OffScale
) -> tuple[Dropped | None, list[Remark]]:
    """Look for ratings of the table `rows` that are not on the data set's scale.

    Args:
        engine: holds the table.
        scale: low, high and step; None skips the check.
        off_scale: `keep` and count rows outside the scale, `drop` them, or refuse them (`error`).

    Raises:
        UserError: there are some, and they are refused.
    """
    if scale is None:
        return None, []
    low, high, step = scale["low"], scale["high"], scale["step"]
    outside = f"NOT rating BETWEEN CAST({low} AS FLOAT) AND CAST({high} AS FLOAT)"
    every = engine.count("rows")
    count = int(engine.value(f"SELECT count(*) FROM rows WHERE {outside}"))
    off_step = f"abs((rating - {low}) / {step} - round((rating - {low}) / {step})) > 0.001"
    between = int(engine.value(f"SELECT count(*) FROM rows WHERE NOT ({outside}) AND {off_step}"))
    remarks = (
        [Remark(f"ratings lie between the steps of data.rating_scale (step {step:g})", between)] if between else []
    )
    if not count:
        return None, remarks
    least, most = engine.rows(f"SELECT min(rating), max(rating) FROM rows WHERE {outside}")[0]
    where = f"outside of data.rating_scale, {low:g} to {high:g} (from {least:g} to {most:g})"
    advice = "set data.rating_scale.low and .high, or data.off_scale=drop"
    if off_scale == "error":
        raise UserError(f"{count:,} of {counted(every, 'rating')} {where}: {advice}")
    if off_scale == "drop":
        engine.delete("rows", outside)
        return Dropped(f"the rating lies {where}", count), remarks
    return None, [Remark(f"ratings ({count / every:.1%}) lie {where}: {advice}", count), *remarks]


def tie_remarks(splits: Sequence[Mapping[str, Any]], rule: Mapping[str, Any]) -> list[Remark]:
    """Say how many valid and test rows are tied and how they are ordered, from the splits' records and the rule."""
    valid, test = (next(record["tied"] for record in splits if record["split"] == name) for name in ("valid", "test"))
    if not valid + test:
        return []
    orders = {
        "random": "in seeded random order (data.split.ties)",
        "file": "in the order of the file (data.split.ties)",
    }
    order = orders.get(str(rule.get("ties")), "in the order of the published split")
    return [
        Remark(f"{valid:,} valid and {test:,} test rows share user and time with another row: they stand {order}", None)
    ]


def date_remarks(engine: Engine) -> list[Remark]:
    """Return the first and the last date of the table `final`, with a hint if they cannot be right."""
    first, last = engine.rows("SELECT min(timestamp), max(timestamp) FROM final")[0]
    query = "SELECT strftime(make_timestamp(CAST(? AS BIGINT) * 1000000), '%Y-%m-%d')"
    dates = f"from {engine.value(query, [first])} to {engine.value(query, [last])}"
    if last < EARLY:
        return [Remark(f"rows are {dates}: are times in another unit? See data.reader.time", None)]
    return [Remark(f"rows are {dates}", None)]


def _plain(column: str, value: Any) -> int | float:
    return float(value) if column == "positives" else int(value)
