"""Conversion of a reader's tables to rows of integers, and back to tables with raw ids.

Sorting and counting use integers; raw ids and texts are joined again when the result is written.
"""

from pathlib import Path

from recsys_lora.data.engine import Engine, name, text
from recsys_lora.data.schema import TEXT_COLUMNS, RawTables, SplitResult

PARQUET = "FORMAT parquet, COMPRESSION zstd"


def number_raw(engine: Engine, tables: RawTables) -> None:
    """Make the tables `raw_users`, `raw_items` and `rows`: integers by first appearance in the file."""
    for column in ("user", "item"):
        engine.run(
            f"CREATE OR REPLACE TABLE raw_{column}s AS SELECT CAST(row_number() OVER () AS INTEGER) AS {column}, "
            f"{column}_id FROM (SELECT {column}_id, min(line) AS first FROM {tables.interactions} "
            f"GROUP BY {column}_id ORDER BY first)",
            f"numbering {column}s",
        )
    engine.run(
        f"CREATE OR REPLACE TABLE rows AS SELECT line, user, item, rating, timestamp FROM {tables.interactions} "
        "JOIN raw_users USING (user_id) JOIN raw_items USING (item_id)",
        "numbering rows",
        (engine.count(tables.interactions), "rows"),
    )


def number_final(engine: Engine, arranged: SplitResult, tables: RawTables, whole_catalogue: bool) -> None:
    """Make the tables `final_users` and `final_items`: raw numbers, their final numbers from 1, and raw ids.

    Args:
        engine: holds the tables.
        arranged: the split's result.
        tables: the reader's tables.
        whole_catalogue: items without rows get numbers, too, after the others, in the order of the items table.
    """
    for column, given in (("user", arranged.users), ("item", arranged.items)):
        query = given or (
            f"SELECT {column}, min(place) AS first FROM {arranged.rows} JOIN rows USING (line) GROUP BY {column}"
        )
        engine.run(
            f"CREATE OR REPLACE TABLE final_{column}s AS SELECT {column} AS raw, {column}_id, "
            f"row_number() OVER () AS {column} FROM (SELECT {column}, {column}_id FROM ({query}) "
            f"JOIN raw_{column}s USING ({column}) ORDER BY first)"
        )
    if whole_catalogue:
        engine.run(
            "INSERT INTO final_items SELECT NULL, item_id, row_number() OVER () + (SELECT count(*) FROM final_items) "
            f"FROM (SELECT item_id FROM {tables.items} ANTI JOIN final_items USING (item_id) ORDER BY line)"
        )


def final_rows(engine: Engine, arranged: SplitResult, positive: float | None) -> None:
    """Make the table `final`: `line`, `place`, `user`, `item`, `rating`, `label`, `timestamp`, `split`, `sampled`.

    Args:
        engine: holds the table.
        arranged: the split's result.
        positive: ratings of at least this have label 1; None: all rows have.
    """
    label = "1" if positive is None else f"rating >= CAST({positive} AS FLOAT)"
    engine.run(
        "CREATE OR REPLACE TABLE final AS SELECT rows.line, place, final_users.user, final_items.item, rating, "
        f"CAST({label} AS TINYINT) AS label, timestamp, split, CAST(NULL AS INTEGER) AS sampled FROM {arranged.rows} "
        "JOIN rows USING (line) JOIN final_users ON rows.user = final_users.raw "
        "JOIN final_items ON rows.item = final_items.raw"
    )


def write_interactions(engine: Engine, tables: RawTables, path: Path) -> None:
    """Write the rows in their order, with raw ids and texts."""
    texts = [column for column in TEXT_COLUMNS if column in engine.columns(tables.interactions)]
    listed = "user_id, item_id, user, item, rating, label, timestamp, split"
    source = "final JOIN final_users USING (user) JOIN final_items USING (item)"
    if texts:  # a sampled negative has the line of its positive, and no text
        listed += "".join(f", CASE WHEN sampled IS NULL THEN texts.{column} END AS {column}" for column in texts)
        source += f" LEFT JOIN {tables.interactions} texts USING (line)"
        listed = listed.replace("user_id, item_id", "final_users.user_id, final_items.item_id")
        listed = listed.replace("rating,", "final.rating,").replace("timestamp,", "final.timestamp,")
    engine.run(
        f"COPY (SELECT {listed} FROM {source} ORDER BY place, sampled NULLS LAST) TO {text(str(path))} ({PARQUET})",
        "writing rows",
        (engine.count("final"), "rows"),
    )


def write_items(engine: Engine, tables: RawTables, path: Path) -> None:
    """Write the items in the order of their numbers."""
    extra = [column for column in engine.columns(tables.items) if column not in ("line", "item_id", "title")]
    listed = ", ".join(["item_id", "item", "title", *map(name, extra)])
    engine.run(
        f"COPY (SELECT {listed} FROM final_items LEFT JOIN {tables.items} USING (item_id) ORDER BY item) "
        f"TO {text(str(path))} ({PARQUET})"
    )


def write_users(engine: Engine, tables: RawTables, path: Path) -> None:
    """Write the users in the order of their numbers."""
    source, extra = "final_users", []
    if tables.users:
        source += f" LEFT JOIN {tables.users} USING (user_id)"
        extra = [column for column in engine.columns(tables.users) if column not in ("line", "user_id")]
    listed = ", ".join(["user_id", "user", *map(name, extra)])
    engine.run(f"COPY (SELECT {listed} FROM {source} ORDER BY user) TO {text(str(path))} ({PARQUET})")
