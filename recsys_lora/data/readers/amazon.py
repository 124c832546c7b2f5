"""Amazon reviews (McAuley lab) of 2023, 2018 and 2014: a file of reviews, a file of items, one record per line."""

import html
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from recsys_lora.data.engine import Engine, name
from recsys_lora.data.readers import columns as raw
from recsys_lora.data.readers.match import catalogue_of_interactions
from recsys_lora.data.readers.opened import open_table
from recsys_lora.data.readers.raw_table import Column, RawTable
from recsys_lora.data.readers.text_format import TextFormat
from recsys_lora.data.readers.times import timestamp
from recsys_lora.data.schema import INTERACTIONS, ITEMS, Dropped, RawTables, Remark
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import home

WHERE = (
    "https://amazon-reviews-2023.github.io (2023), https://nijianmo.github.io/amazon/ (2018) or "
    "https://cseweb.ucsd.edu/~jmcauley/datasets/amazon/links.html (2014)"
)
OLD = {
    "user_id": "reviewerID",
    "item_id": "asin",
    "rating": "overall",
    "timestamp": "unixReviewTime",
    "review": "reviewText",
    "summary": "summary",
}
NEW = {
    "user_id": "user_id",
    "item_id": "parent_asin",
    "rating": "rating",
    "timestamp": "timestamp",
    "review": "text",
    "summary": "title",
}
NEEDED = ("user_id", "item_id", "rating", "timestamp")
META = ("asin", "parent_asin", "title", "brand", "store", "category", "categories", "price")
ANY_ID = re.compile(rb"""["'](?:parent_)?asin["']\s*:\s*u?["']([^"']+)["']""")
MARKUP = re.compile(r"(?s)<!--.*?(-->|$)|</?[a-zA-Z][\w-]*(\s[^<>]*)?/?>|<[a-zA-Z][\w-]*\s+[\w-]+=[^<>]*$")
"""A comment, a tag, or a tag with attributes that the end of the title cuts off. `I <3 this` and `x<y` are text."""
_SILENT = re.compile(r"(?is)<(script|style)\b.*?(</\1\s*>|$)")


def has_markup(text: str) -> bool:
    """Return whether a text contains HTML tags."""
    return MARKUP.search(text) is not None


def visible_text(text: str) -> str:
    """Return what a browser would show of a text, on one line: without tags and scripts, entities resolved."""
    return " ".join(html.unescape(MARKUP.sub(" ", _SILENT.sub(" ", text))).split())


@dataclass(frozen=True)
class AmazonReviews:
    """One category; the files' release is detected from their keys.

    Attributes:
        reviews: the file of reviews, plain or gzipped; required.
        meta: the file of items; None: items have no titles. With it, reviews of items without a record are dropped.
        root: the folder that both are relative to.
        asset: without `root`, the name of their folder among the cache's assets; None: the current folder.
        years: calendar years (UTC) to keep; None keeps all.
        text: keep review texts and summaries.
        untitled: what to do with items whose record has no title, or only HTML without text.
        catalogue: read the records of `all` items, or of those with reviews (`interactions`).
        html_titles: `clean` extracts text from HTML, resolves entities and joins lines; `keep` leaves titles as they
            are.
    """

    reviews: str | None = None
    meta: str | None = None
    root: str | None = None
    asset: str | None = None
    years: Sequence[int] | None = None
    text: bool = True
    untitled: Literal["keep", "drop"] = "drop"
    html_titles: Literal["clean", "keep"] = "clean"
    catalogue: Literal["all", "interactions"] = "interactions"

    def files(self) -> dict[str, Path]:
        """Return the files of reviews and of items.

        Raises:
            UserError: none is named, or one is missing.
        """
        if not self.reviews:
            raise UserError(f"no file of reviews is named: data.reviews=FILE data.meta=FILE, from {WHERE}")
        base = Path(self.root).expanduser() if self.root else home() / "assets" / self.asset if self.asset else Path()
        wanted = {"reviews": self.reviews} | ({"meta": self.meta} if self.meta else {})
        found = {role: _either(base / Path(name).expanduser()) for role, name in wanted.items()}
        if missing := [wanted[role] for role, path in found.items() if path is None]:
            advice = "say data.root=FOLDER" if self.asset else "correct data.reviews and data.meta"
            raise UserError(f"{' and '.join(missing)}: not in {base.absolute()}: get them from {WHERE}, or {advice}")
        return {role: path for role, path in found.items() if path is not None}

    def identity(self) -> dict[str, Any]:
        """Return the settings that the tables depend on."""
        years = None if self.years is None else sorted(self.years)
        knobs = {name: getattr(self, name) for name in ("text", "untitled", "html_titles", "catalogue")}
        return {"reader": "amazon", "years": years, **knobs}

    def read(self, engine: Engine) -> RawTables:
        """Read the reviews, then the records of their items."""
        paths = self.files()
        dropped = self._reviews(paths["reviews"], engine)
        if "meta" not in paths:
            catalogue_of_interactions(engine)
            return RawTables(dropped=dropped)
        remarks = self._items(paths["meta"], engine)
        return RawTables(dropped=[*dropped, *self._only_listed(engine)], remarks=remarks)

    def _reviews(self, path: Path, engine: Engine) -> list[Dropped]:
        table = open_table(path, engine, TextFormat(), [*OLD.values(), *NEW.values()], "data.reviews", knob=None)
        keys = NEW if "parent_asin" in table.columns else OLD
        table = _with_keys(table, keys)
        if lacking := [key for ours, key in keys.items() if ours in NEEDED and key not in table.columns]:
            raise UserError(f"{path}: no column {', '.join(lacking)}: is this a file of Amazon reviews?")
        time = "milliseconds" if keys is NEW else "seconds"
        roles = {column: raw.identifier(table, keys[column]) for column in ("user_id", "item_id")}
        roles["rating"] = raw.rating(table, keys["rating"])
        roles["timestamp"], _ = timestamp(table, engine, keys["timestamp"], time)
        texts = [column for column in ("review", "summary") if self.text and keys[column] in table.columns]
        missing = raw.load(
            engine, table, INTERACTIONS, roles, {column: table.columns[keys[column]].sql for column in texts}
        ).missing
        needed = [keys[column] for column in NEEDED]
        dropped = [Dropped(f"without {', '.join(needed[:-1])} or {needed[-1]}", missing)]
        if self.years is not None:
            kept = ", ".join(map(str, self.years)) or "NULL"
            other = f"year(make_timestamp(timestamp * 1000000)) NOT IN ({kept})"
            dropped.append(Dropped("of another year", engine.delete(INTERACTIONS, other)))
        if not engine.count(INTERACTIONS):
            found = "; ".join(f"{drop.rows:,} {drop.reason}" for drop in dropped if drop.rows) or "nothing in it"
            raise UserError(f"{path}: no review could be used ({found}): is this a file of reviews?")
        return dropped

    def _items(self, path: Path, engine: Engine) -> list[Remark]:
        """Read the records of items with reviews; the last record of an item counts, and keeps its place."""
        keep = _wanted_lines(engine) if self.catalogue == "interactions" else None
        table = open_table(path, engine, TextFormat(), META, "data.meta", knob=None, keep=keep)
        new = "parent_asin" in table.columns
        table = _with_keys(table, {key: key for key in META})
        if "asin" not in table.columns:
            raise UserError(f"{path}: no column asin: is this a file of Amazon's items?")
        key = "parent_asin" if new else "asin"
        at = {column: table.columns[column].sql for column in META}
        one_line = "nullif(trim(regexp_replace({}, '\\s+', ' ', 'g')), '')"
        more = {
            "title": f"coalesce({at['title']}, '')",
            "brand": one_line.format(f"coalesce(nullif({at['brand']}, ''), {at['store']})"),
            "category": f"coalesce({_joined(at['category'])}, {_joined(at['categories'])})",
            "price": one_line.format(at["price"]),
        }
        raw.load(engine, table, ITEMS, {"item_id": raw.identifier(table, key)}, more)
        engine.run(
            f"CREATE OR REPLACE TABLE wanted AS SELECT item_id, count(*) AS n FROM {INTERACTIONS} GROUP BY item_id"
        )
        if self.catalogue == "interactions":
            engine.delete(ITEMS, "item_id NOT IN (SELECT item_id FROM wanted)")
        repeated = engine.delete(ITEMS, f"line NOT IN (SELECT max(line) FROM {ITEMS} GROUP BY item_id)")
        remarks: Counter[str] = Counter()
        if self.html_titles == "clean":
            _clean_titles(engine, remarks)
        remarks["records without a title"] = engine.value(f"SELECT count(*) FROM {ITEMS} WHERE trim(title) = ''")
        remarks["items with more than one record: the last one counts"] = repeated
        return [Remark(text, count) for text, count in remarks.items() if count]

    def _only_listed(self, engine: Engine) -> list[Dropped]:
        """Drop reviews of items without a record or, with `untitled="drop"`, without a title."""
        unlisted = f"SELECT coalesce(sum(n), 0) FROM wanted ANTI JOIN {ITEMS} USING (item_id)"
        dropped = [Dropped("the item has no record in the meta file", int(engine.value(unlisted)))]
        if self.untitled == "drop":
            engine.delete(ITEMS, "trim(title) = ''")
            dropped.append(Dropped("the item has no title", int(engine.value(unlisted)) - dropped[0].rows))
        if any(drop.rows for drop in dropped):
            engine.delete(INTERACTIONS, f"item_id NOT IN (SELECT item_id FROM {ITEMS})")
        return dropped


def _with_keys(table: RawTable, keys: Mapping[str, str]) -> RawTable:
    """Add the keys that later records may have even if the first ones do not."""
    if not table.open_ended:
        return table
    return replace(table, columns={key: Column(name(key)) for key in keys.values()} | table.columns)


def _joined(value: str) -> str:
    """Return SQL of categories joined by "|": a list in 2018's and 2023's files, a list of such lists in 2014's."""
    parts = (
        f"CASE WHEN {value} LIKE '[[%' THEN json_extract_string({value}, '$[0][*]') "
        f"ELSE json_extract_string({value}, '$[*]') END"
    )
    return (
        f"CASE WHEN {value} LIKE '[%' AND json_valid({value}) THEN nullif(array_to_string({parts}, '|'), '') "
        f"ELSE nullif(trim({value}), '') END"
    )


def _wanted_lines(engine: Engine) -> Callable[[bytes], bool]:
    """Return a filter for lines of Python literals, which are slow to read: True if a line may be wanted."""
    wanted: set[bytes] = set()

    def keep(line: bytes) -> bool:
        if not wanted:
            wanted.update(item.encode() for (item,) in engine.rows(f"SELECT DISTINCT item_id FROM {INTERACTIONS}"))
        ids = ANY_ID.findall(line)
        return not ids or any(item in wanted for item in ids)

    return keep


def _clean_titles(engine: Engine, remarks: "Counter[str]") -> None:
    dirty = engine.rows(f"SELECT line, title FROM {ITEMS} WHERE regexp_matches(title, '[<&]|\\s\\s|[^\\S ]|^\\s|\\s$')")
    clean = [visible_text(title) for _, title in dirty]
    for (_, title), after in zip(dirty, clean, strict=True):
        if has_markup(title):
            remarks["titles held HTML, the text was taken out of it" if after else "titles were HTML without text"] += 1
    engine.fill("cleaned", {"line": ("BIGINT", [line for line, _ in dirty]), "title": ("VARCHAR", clean)})
    engine.run(f"UPDATE {ITEMS} SET title = cleaned.title FROM cleaned WHERE {ITEMS}.line = cleaned.line")


def _either(path: Path) -> Path | None:
    """Return the file, or its variant with or without .gz; None if neither exists."""
    other = path.with_suffix("") if path.suffix == ".gz" else path.with_name(f"{path.name}.gz")
    return next((p for p in (path, other) if p.exists()), None)
