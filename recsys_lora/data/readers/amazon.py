"""Amazon reviews (McAuley lab), 2018 and 2014: a file of reviews, a file of items, one record a line.

Files are streamed and only the columns that are needed are kept, so that memory follows the rows kept, not the files.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from recsys_lora.data.readers.html import has_markup, visible_text
from recsys_lora.data.readers.records import Record, records
from recsys_lora.data.schema import INTERACTION_COLUMNS, TEXT_COLUMNS, Dropped, RawTables, Remark
from recsys_lora.errors import UserError
from recsys_lora.files import home

WHERE = (
    "https://nijianmo.github.io/amazon/ (2018) or https://cseweb.ucsd.edu/~jmcauley/datasets/amazon/links.html (2014)"
)
ROWS_A_CHUNK = 200_000
NEEDED = ("reviewerID", "asin", "overall", "unixReviewTime")
ITEM_TITLE = {"item_id": pl.String(), "title": pl.String()}
ITEM_COLUMNS = ITEM_TITLE | {"brand": pl.String(), "category": pl.String()}


@dataclass(frozen=True)
class AmazonReviews:
    """One category.

    Attributes:
        reviews: the reviews' file, plain or gzipped; has to be given.
        meta: the items' file; None: items have no titles. With it, reviews of items without a record are dropped.
        root: the folder that both are relative to.
        asset: without `root`, the folder of the cache's assets where they are looked for; None: the present folder.
        years: calendar years (UTC) to keep; None keeps all.
        text: keep review texts and summaries.
        untitled: what to do with items whose record has no title, or one of HTML without text.
        html_titles: `clean` takes the text out of HTML, resolves entities, joins lines; `keep` leaves titles.
    """

    reviews: str | None = None
    meta: str | None = None
    root: str | None = None
    asset: str | None = None
    years: Sequence[int] | None = None
    text: bool = True
    untitled: Literal["keep", "drop"] = "drop"
    html_titles: Literal["clean", "keep"] = "clean"

    def files(self) -> dict[str, Path]:
        """Return the reviews' and the items' file."""
        if not self.reviews:
            raise UserError(f"no file of reviews is named: data.reviews=FILE data.meta=FILE, to be had from {WHERE}")
        base = Path(self.root).expanduser() if self.root else home() / "assets" / self.asset if self.asset else Path()
        wanted = {"reviews": self.reviews} | ({"meta": self.meta} if self.meta else {})
        found = {role: _either(base / Path(name).expanduser()) for role, name in wanted.items()}
        if missing := [wanted[role] for role, path in found.items() if path is None]:
            advice = "say data.root=FOLDER" if self.asset else "correct data.reviews and data.meta"
            raise UserError(f"{' and '.join(missing)}: not in {base.absolute()}: get them from {WHERE}, or {advice}")
        return {role: path for role, path in found.items() if path is not None}

    def identity(self) -> dict[str, Any]:
        """Return what the tables depend on beside the files."""
        years = None if self.years is None else sorted(self.years)
        knobs = {"text": self.text, "untitled": self.untitled, "html_titles": self.html_titles}
        return {"reader": "amazon", "years": years, **knobs}

    def read(self) -> RawTables:
        """Stream the files, items first."""
        paths = self.files()
        dropped: Counter[str] = Counter()
        rows = self._interactions(paths["reviews"], dropped)
        if "meta" not in paths:
            ids = rows["item_id"].unique(maintain_order=True)
            return RawTables(rows, pl.DataFrame({"item_id": ids, "title": None}, ITEM_TITLE), _counted(dropped))
        remarks: Counter[str] = Counter()
        items = self._items(paths["meta"], set(rows["item_id"].unique()), remarks)
        rows = _only(rows, items, "the item has no record in the meta file", dropped)
        if self.untitled == "drop":
            items = items.filter(pl.col("title").str.strip_chars() != "")
            rows = _only(rows, items, "the item has no title", dropped)
        return RawTables(rows, items, _counted(dropped), [Remark(text, n) for text, n in remarks.items()])

    def _interactions(self, path: Path, dropped: "Counter[str]") -> pl.DataFrame:
        schema = INTERACTION_COLUMNS | ({column: pl.String() for column in TEXT_COLUMNS} if self.text else {})
        rows = _table(self._reviews(path, dropped), schema)
        if rows.is_empty():
            found = "; ".join(f"{n:,} {reason}" for reason, n in dropped.items()) or "nothing in it"
            raise UserError(f"{path}: no review could be used ({found}): is this a file of reviews?")
        return rows

    def _reviews(self, path: Path, dropped: "Counter[str]") -> Iterator[tuple[Any, ...]]:
        years = None if self.years is None else frozenset(self.years)
        for number, record in records(path):
            if any(record.get(key) in (None, "") for key in NEEDED):
                dropped[f"without {', '.join(NEEDED[:-1])} or {NEEDED[-1]}"] += 1
                continue
            user, item, rating, when = (record[key] for key in NEEDED)
            try:
                rating, when = float(rating), int(when)
            except (TypeError, ValueError) as error:
                raise UserError(
                    f"{path}, line {number}: overall {rating!r} and unixReviewTime {when!r} should be numbers: "
                    "correct or remove the line"
                ) from error
            if years is not None and time.gmtime(when).tm_year not in years:
                dropped["of another year"] += 1
                continue
            texts = (record.get("reviewText"), record.get("summary")) if self.text else ()
            yield str(user), str(item), rating, when, *texts

    def _items(self, path: Path, wanted: set[str], remarks: "Counter[str]") -> pl.DataFrame:
        """Read the records of wanted items; the last record of an item counts, and stands where it stands."""
        table = _table(self._records(path, wanted, remarks), ITEM_COLUMNS)
        items = table.unique("item_id", keep="last", maintain_order=True)
        if len(table) > len(items):
            remarks["items with more than one record: the last one counts"] = len(table) - len(items)
        return items

    def _records(self, path: Path, wanted: set[str], remarks: "Counter[str]") -> Iterator[tuple[Any, ...]]:
        for _, record in records(path):
            if (item := record.get("asin")) not in wanted:
                continue
            title = str(record.get("title") or "")
            if self.html_titles == "clean":
                title = _cleaned(title, remarks)
            if not title.strip():
                remarks["records without a title"] += 1
            yield item, title, _line(record.get("brand")), _categories(record)


def _cleaned(title: str, remarks: "Counter[str]") -> str:
    clean = visible_text(title)
    if has_markup(title):
        remarks["titles held HTML, the text was taken out of it" if clean else "titles were HTML without text"] += 1
    return clean


def _either(path: Path) -> Path | None:
    """Return the file, or the same with or without .gz; None if there is neither."""
    other = path.with_suffix("") if path.suffix == ".gz" else path.with_name(f"{path.name}.gz")
    return next((p for p in (path, other) if p.is_file()), None)


def _table(rows: Iterator[tuple[Any, ...]], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Build a table chunk by chunk: Python objects of one chunk only are in memory."""
    chunks, chunk = [pl.DataFrame(schema=schema)], []
    for row in rows:
        chunk.append(row)
        if len(chunk) == ROWS_A_CHUNK:
            chunks.append(pl.DataFrame(chunk, schema=schema, orient="row"))
            chunk = []
    chunks.append(pl.DataFrame(chunk, schema=schema, orient="row"))
    return pl.concat(chunks)


def _only(rows: pl.DataFrame, items: pl.DataFrame, reason: str, dropped: "Counter[str]") -> pl.DataFrame:
    kept = rows.filter(pl.col("item_id").is_in(items["item_id"].to_list()))
    dropped[reason] += len(rows) - len(kept)
    return kept


def _counted(dropped: "Counter[str]") -> list[Dropped]:
    return [Dropped(reason, count) for reason, count in dropped.items()]


def _line(value: Any) -> str | None:
    return " ".join(str(value).split()) or None if value else None


def _categories(record: Record) -> str | None:
    """Return a record's categories joined by "|": a list in 2018's files, a list of such lists in 2014's."""
    found: Any = record.get("category") or next(iter(record.get("categories") or []), [])
    return "|".join(str(part) for part in found) or None if isinstance(found, list) else _line(found)
