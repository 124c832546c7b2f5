"""From a reader and a split to a folder of tables that every later stage reads.

The folder appears whole or not at all, so a killed run leaves nothing half made and the next run starts afresh.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from recsys_lora.data.filters import Duplicates, drop_duplicates, k_core
from recsys_lora.data.prepared import FORMAT_VERSION, INTERACTIONS, ITEMS, MANIFEST, PreparedData, summary
from recsys_lora.data.schema import TEXT_COLUMNS, Arranged, RawTables, Reader, Split, check_tables
from recsys_lora.data.sources import checksums
from recsys_lora.errors import UserError
from recsys_lora.files import atomic_folder, content_key, write_json
from recsys_lora.types import NonNegativeInt
from recsys_lora.version import __version__

logger = logging.getLogger(__name__)


def prepare_key(reader: Reader, split: Split, options: Mapping[str, Any]) -> str:
    """Name what `prepare` would make, from the content of all it depends on.

    Args:
        reader: its files are checksummed (and fetched, where they can be).
        split: the rule.
        options: the other arguments of `prepare`, without `out`.

    Raises:
        UserError: a raw file is missing.
    """
    return content_key(_origin(reader, split, options))


def _origin(reader: Reader, split: Split, options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "format": FORMAT_VERSION,
        "sources": checksums(reader.files()),
        "reader": reader.identity(),
        "split": split.identity(),
        "options": dict(options),
    }


def prepare(
    reader: Reader,
    split: Split,
    *,
    name: str,
    positive: float,
    out: Path,
    min_user_rows: NonNegativeInt = 0,
    min_item_rows: NonNegativeInt = 0,
    duplicates: Duplicates = "keep",
) -> PreparedData:
    """Read, filter, split, number and write a data set.

    Args:
        reader: the raw format.
        split: the rule.
        name: the data set's, for messages and the manifest.
        positive: ratings from here on count as positive.
        out: the folder to make; one that `prepare` made before is replaced.
        min_user_rows: k-core: users with fewer rows are dropped, again and again until none is left; 0 keeps all.
        min_item_rows: the same for items.
        duplicates: `keep` all rows, drop `exact` copies, or keep only each pair's `last` row.

    Raises:
        UserError: the files or options leave nothing to learn from, or `out` is somebody's other folder.
    """
    check_target(out)
    options = {
        "name": name,
        "positive": positive,
        "min_user_rows": min_user_rows,
        "min_item_rows": min_item_rows,
        "duplicates": duplicates,
    }
    origin = _origin(reader, split, options)
    tables = reader.read()
    check_tables(tables, name)
    rows_read = len(tables.interactions)
    tables = k_core(drop_duplicates(tables, duplicates), min_user_rows, min_item_rows)
    if tables.interactions.is_empty():
        raise UserError(f"data={name}: no row is left of {rows_read}: {_reasons(tables.dropped)}")
    arranged = split.arrange(tables)
    dropped = [drop for drop in (*tables.dropped, *arranged.dropped) if drop.rows]
    interactions, items = _numbered(arranged, tables, positive)
    manifest = origin | {"key": content_key(origin), "name": name, "version": __version__, "rows_read": rows_read}
    manifest |= {"dropped": [asdict(d) for d in dropped], "remarks": [asdict(r) for r in tables.remarks]}
    data = PreparedData(out, manifest, interactions, items)
    manifest |= {"users": data.num_users, "items": data.num_items, "splits": summary(data)}
    check_splits(manifest)
    with atomic_folder(out) as folder:
        interactions.write_parquet(folder / INTERACTIONS)
        items.write_parquet(folder / ITEMS)
        write_json(folder / MANIFEST, manifest)
    for drop in dropped:
        logger.info("%s: dropped %s rows: %s", name, f"{drop.rows:,}", drop.reason)
    for remark in tables.remarks:
        logger.info("%s: %s (%s)", name, remark.text, f"{remark.count:,}")
    return data


def _reasons(dropped: Any) -> str:
    return "; ".join(f"{d.rows:,} dropped ({d.reason})" for d in dropped if d.rows) or "the files are empty"


def check_target(out: Path) -> None:
    """Refuse to replace a folder that is not one of ours: the swap would delete what is in it.

    Raises:
        UserError: `out` is a file, or a folder of something else.
    """
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise UserError(f"{out}: the folder is not empty and holds no prepared data: name a new one (out=FOLDER)")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file, not a folder: name another (out=FOLDER)")


def _numbered(arranged: Arranged, tables: RawTables, positive: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Add numbers and labels to the interactions; put the items in the order of their numbers."""
    rows = arranged.interactions
    for column, ids in (("user", arranged.user_ids), ("item", arranged.item_ids)):
        numbers = pl.DataFrame({f"{column}_id": ids, column: pl.int_range(1, len(ids) + 1, eager=True)})
        rows = rows.join(numbers, on=f"{column}_id", how="left", maintain_order="left")
    rows = rows.with_columns(
        pl.col("user", "item").cast(pl.Int64), (pl.col("rating") >= positive).cast(pl.Int8).alias("label")
    )
    texts = [column for column in TEXT_COLUMNS if column in rows.columns]
    columns = ["user_id", "item_id", "user", "item", "rating", "label", "timestamp", "split", *texts]
    catalogue = pl.DataFrame({"item_id": arranged.item_ids}).with_row_index("item", offset=1)
    items = catalogue.join(tables.items, on="item_id", how="left", maintain_order="left")
    attributes = [column for column in tables.items.columns if column not in ("item_id", "title")]
    items = items.select("item_id", pl.col("item").cast(pl.Int64), "title", *attributes)
    return rows.select(columns), items


def check_splits(manifest: Mapping[str, Any]) -> None:
    """Refuse a data set from which nothing can be learned or measured.

    Raises:
        UserError: a split is empty or has one class only.
    """
    name, positive = manifest["name"], manifest["options"]["positive"]
    for record in manifest["splits"]:
        split, rows = record["split"], record["rows"]
        if not rows:
            raise UserError(f"data={name}: the {split} split is empty: choose another data.split or looser filters")
        if record["positives"] in (0.0, 1.0):
            which = "positive" if record["positives"] else "negative"
            raise UserError(
                f"data={name}: all {rows} rows of the {split} split are {which} at data.positive={positive:g}: AUC "
                "needs both classes: choose another data.positive or data.split"
            )


def drop_records(data: PreparedData) -> list[dict[str, Any]]:
    """Return one record a reason for which rows were dropped, and one a remark, for printing."""
    dropped = [{"what": d["reason"], "count": d["rows"]} for d in data.manifest["dropped"]]
    return dropped + [{"what": r["text"], "count": r["count"]} for r in data.manifest["remarks"]]
