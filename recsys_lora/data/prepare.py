"""Preparation: a reader and a split make a folder of tables that every later stage reads.

The folder is written atomically, so a killed run leaves nothing incomplete and the next run starts over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from recsys_lora.data import numbering
from recsys_lora.data.code import code_checksum
from recsys_lora.data.engine import Engine, engine
from recsys_lora.data.filters import Duplicates, drop_duplicates, k_core
from recsys_lora.data.negatives import Negatives, sample_negatives
from recsys_lora.data.prepared import FORMAT_VERSION, INTERACTIONS, ITEMS, MANIFEST, USERS, PreparedData
from recsys_lora.data.schema import TEXT_COLUMNS, Dropped, RawTables, Reader, Remark, RowTables, Split, check_tables
from recsys_lora.data.summary import OffScale, apply_scale, date_remarks, describe_splits, tie_remarks
from recsys_lora.utils.checksums import remembered_sha256
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import atomic_folder, content_key, file_sha256, write_json
from recsys_lora.utils.types import NonNegativeInt
from recsys_lora.utils.version import __version__

Catalogue = Literal["all", "interactions"]


def prepare_key(reader: Reader, split: Split, options: Mapping[str, Any]) -> str:
    """Return the key of what `prepare` would make, from all that it depends on: files, settings and code.

    Args:
        reader: its files are checksummed (and fetched first, if possible).
        split: the split rule.
        options: the other arguments of `prepare`, without `out`.

    Raises:
        UserError: a raw file is missing.
    """
    return content_key(_origin(reader, split, options))


def _origin(reader: Reader, split: Split, options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "format": FORMAT_VERSION,
        "code": code_checksum([reader, split]),
        "sources": {role: remembered_sha256(path) for role, path in sorted(reader.files().items())},
        "reader": reader.identity(),
        "split": split.identity(),
        "options": {
            name: value.identity() if isinstance(value, Negatives) else value for name, value in options.items()
        },
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
    rating_scale: Mapping[str, float] | None = None,
    off_scale: OffScale = "keep",
    catalogue: Catalogue = "interactions",
    negatives: Negatives | None = None,
) -> PreparedData:
    """Read, filter, split, number and write a data set.

    Args:
        reader: reads the raw format.
        split: the split rule.
        name: the data set's name, for messages and the manifest.
        positive: ratings of at least this are positive; if there are no ratings, all rows are.
        out: the folder to write; an earlier one that `prepare` made is replaced.
        min_user_rows: k-core: users with fewer rows are dropped, repeatedly until there are none; 0 keeps all.
        min_item_rows: the same for items.
        duplicates: `keep` all rows, drop `exact` copies, or keep only each pair's `last` row.
        rating_scale: low, high and step of ratings; None skips the check.
        off_scale: what to do with ratings outside the scale.
        catalogue: keep `all` items of the items table, or only those with `interactions` that were kept.
        negatives: how many negatives are sampled for each row of a data set without ratings.

    Raises:
        UserError: the files or options leave nothing to learn from, or `out` holds something else.
    """
    check_target(out)
    options = {
        "name": name,
        "positive": positive,
        "min_user_rows": min_user_rows,
        "min_item_rows": min_item_rows,
        "duplicates": duplicates,
        "rating_scale": None if rating_scale is None else dict(rating_scale),
        "off_scale": off_scale,
        "catalogue": catalogue,
        "negatives": negatives,
    }
    origin = _origin(reader, split, options)
    with engine(out) as opened:
        tables = reader.read(opened)
        check_tables(opened, tables, name)
        read = opened.count(tables.interactions)
        dropped, remarks = _filter(opened, tables, options, read)
        arranged = split.arrange(RowTables(opened, catalogue=tables.items, timed=tables.timed))
        numbering.number_final(opened, arranged, tables, catalogue == "all")
        numbering.final_rows(opened, arranged, positive if tables.rated else None)
        if not opened.count("final"):
            raise _nothing_left(name, read, [*dropped, *arranged.dropped])
        drawn = None if tables.rated else negatives or Negatives()
        if drawn:
            remarks += sample_negatives(opened, drawn)
        splits = describe_splits(opened)
        remarks += [*date_remarks(opened), *tie_remarks(splits, split.identity())] if tables.timed else []
        manifest = origin | {"name": name, "version": __version__, "rows_read": read, "timed": tables.timed}
        manifest |= {"dropped": [asdict(d) for d in (*dropped, *arranged.dropped) if d.rows]}
        manifest |= {"remarks": [asdict(r) for r in remarks if r.count != 0]}
        manifest |= {"negatives": drawn.identity() if drawn else None, "splits": splits}
        manifest |= {f"{column}s": opened.count(f"final_{column}s") for column in ("user", "item")}
        check_splits(manifest, opened.rows("SELECT min(rating), max(rating) FROM final")[0])
        _write(opened, tables, out, manifest)
    return PreparedData.load(out)


def _filter(
    opened: Engine, tables: RawTables, options: Mapping[str, Any], read: int
) -> tuple[list[Dropped], list[Remark]]:
    """Make the table `rows` and drop the rows that the filters exclude."""
    numbering.number_raw(opened, tables)
    texts = [c for c in TEXT_COLUMNS if c in opened.columns(tables.interactions)]
    outside, remarks = (
        apply_scale(opened, options["rating_scale"], options["off_scale"]) if tables.rated else (None, [])
    )
    dropped = [*tables.dropped, *([outside] if outside else [])]
    dropped.append(drop_duplicates(opened, options["duplicates"], tables.interactions, texts))
    dropped.append(k_core(opened, options["min_user_rows"], options["min_item_rows"]))
    if not opened.count("rows"):
        raise _nothing_left(options["name"], read, dropped)
    return dropped, [*tables.remarks, *remarks]


def _write(opened: Engine, tables: RawTables, out: Path, manifest: dict[str, Any]) -> None:
    """Write the folder; its key is made from the tables' content, so that equal tables give later stages equal keys."""
    with atomic_folder(out) as folder:
        numbering.write_interactions(opened, tables, folder / INTERACTIONS)
        numbering.write_items(opened, tables, folder / ITEMS)
        numbering.write_users(opened, tables, folder / USERS)
        content = {file: file_sha256(folder / file) for file in (INTERACTIONS, ITEMS, USERS)}
        depends = {key: manifest[key] for key in ("name", "format", "split", "options", "timed", "negatives")}
        write_json(folder / MANIFEST, manifest | {"key": content_key({**depends, "tables": content})})


def _nothing_left(name: str, read: int, dropped: Sequence[Dropped]) -> UserError:
    reasons = "; ".join(f"{d.rows:,} dropped ({d.reason})" for d in dropped if d.rows) or "the files are empty"
    return UserError(f"data={name}: no row is left of {read}: {reasons}")


def check_target(out: Path) -> None:
    """Refuse to replace a folder that `prepare` did not make: its contents would be deleted.

    Raises:
        UserError: `out` is a file, or a folder with other contents.
    """
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise UserError(f"{out}: the folder is not empty and holds no prepared data: name a new one (out=FOLDER)")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file, not a folder: name another (out=FOLDER)")


def check_splits(manifest: Mapping[str, Any], ratings: tuple[float, float]) -> None:
    """Refuse a data set from which nothing can be learned or measured, given its manifest and its rating range.

    Raises:
        UserError: a split is empty or has only one class.
    """
    name, positive = manifest["name"], manifest["options"]["positive"]
    for record in manifest["splits"]:
        split, rows = record["split"], record["rows"]
        if not rows:
            raise UserError(f"data={name}: the {split} split is empty: choose another data.split or looser filters")
        if record["positives"] in (0.0, 1.0):
            which = "positive" if record["positives"] else "negative"
            if manifest["negatives"]:
                raise UserError(f"data={name}: its users like all items: no negatives can be sampled for {split}")
            raise UserError(
                f"data={name}: every row of the {split} split ({rows:,}) is {which} at data.positive={positive:g}: AUC "
                f"needs both classes: {_other_class(positive, *ratings)}"
            )


def _other_class(positive: float, low: float, high: float) -> str:
    """Return advice for ratings, from low to high, that are all of one class."""
    if low < high:
        example = f", such as data.positive={high:g}," if high < positive else ""
        return f"choose another data.positive (ratings are {low:g} to {high:g}){example} or data.split"
    return (
        f"every rating is {low:g}, so say that there is none (data=table: data.columns.rating=null): then every row "
        "is a positive and negatives are sampled"
    )


def notes(data: PreparedData) -> list[str]:
    """Return a sentence for each reason why rows were dropped, and for each remark."""
    dropped = [f"dropped {record['rows']:,} rows: {record['reason']}" for record in data.manifest["dropped"]]
    remarks = [one["text"] + (f" ({one['count']:,})" if one["count"] else "") for one in data.manifest["remarks"]]
    return dropped + remarks
