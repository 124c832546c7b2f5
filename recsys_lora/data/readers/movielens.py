"""MovieLens-100K in both its formats, and MovieLens-1M."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from recsys_lora.assets.fetch import fetch, locate
from recsys_lora.assets.registry import ML_1M, ML_100K
from recsys_lora.data.readers.text import decode, numbers, read_bytes, split_lines
from recsys_lora.data.schema import RawTables
from recsys_lora.errors import UserError

GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
"""The order of u.item's 19 flags."""

YEAR = re.compile(r"\((\d{4})\)")
LAST_BRACKET = re.compile(r"^(?P<name>.*?)\s*\((?P<inside>[^()]*)\)$")
NO_NAME = "unkonwn"  # so the package writes item 267, which the publisher calls "unknown"


def _ratings(text: str, separator: str, path: Path, header: bool) -> pl.DataFrame:
    columns = ("user_id", "item_id", "rating", "timestamp")
    body = text.split("\n", 1)[1] if header else text
    table = split_lines(body, separator, columns, path)
    first = 2 if header else 1

    def where(row: int) -> str:
        return f"{path}, line {first + row}"

    return table.with_columns(
        numbers(table, "rating", pl.Float32(), where), numbers(table, "timestamp", pl.Int64(), where)
    )


def _items(ids: Sequence[str], titles: Sequence[str], genres: Sequence[str]) -> pl.DataFrame:
    """Build the items table; the year is the last (dddd) of a title, null where it has none."""
    years = [int(found[-1]) if (found := YEAR.findall(title)) else None for title in titles]
    columns = {"item_id": ids, "title": titles, "year": years, "genres": genres}
    return pl.DataFrame(columns, schema_overrides={"item_id": pl.String, "title": pl.String, "year": pl.Int32})


def _package_title(name: str, bracket: str) -> str:
    """Put together what the package took apart: the name and what stood in the title's last brackets."""
    return "unknown" if name == NO_NAME else f"{name.strip()} ({bracket.strip()})"


def _publisher_title(title: str) -> str:
    """Write a title with exactly one space before its last brackets."""
    match = LAST_BRACKET.match(title.strip())
    return f"{match['name']} ({match['inside'].strip()})" if match else title.strip()


@dataclass(frozen=True)
class MovieLens100K:
    """The publisher's `u.data` and `u.item` (latin-1), or the recbole package's `ml-100k.inter` and `ml-100k.item`.

    Both give the same tables: the same rows in the same order, items with what both formats have.

    Attributes:
        root: a folder with either pair of files, plain or gzipped; None fetches them.
    """

    root: str | Path | None = None

    def files(self) -> dict[str, Path]:
        """Return the ratings and the items file, of whichever format the folder has."""
        folder = fetch(ML_100K, None if self.root is None else Path(self.root))
        for ratings, items in (("u.data", "u.item"), ("ml-100k.inter", "ml-100k.item")):
            found = {"ratings": locate(folder, ratings), "items": locate(folder, items)}
            if all(found.values()):
                return {role: path for role, path in found.items() if path is not None}
        raise UserError(f"{folder}: neither u.data and u.item nor ml-100k.inter and ml-100k.item are here")

    def identity(self) -> dict[str, Any]:
        """Return what the tables depend on beside the files."""
        return {"reader": "movielens_100k"}

    def read(self) -> RawTables:
        """Read either format."""
        paths = self.files()
        ratings, items = paths["ratings"], paths["items"]
        if items.name.startswith("u.item"):
            interactions = _ratings(decode(read_bytes(ratings), "utf-8", ratings), "\t", ratings, header=False)
            return RawTables(interactions, self._publisher_items(items))
        interactions = _ratings(decode(read_bytes(ratings), "utf-8", ratings), "\t", ratings, header=True)
        return RawTables(interactions, self._package_items(items))

    def _publisher_items(self, path: Path) -> pl.DataFrame:
        columns = ("item_id", "title", "released", "video_released", "url", *GENRES_100K)
        table = split_lines(decode(read_bytes(path), "latin-1", path), "|", columns, path)
        flags = table.select(GENRES_100K).rows()
        genres = ["|".join(g for g, flag in zip(GENRES_100K, row, strict=True) if flag == "1") for row in flags]
        return _items(table["item_id"].to_list(), list(map(_publisher_title, table["title"])), genres)

    def _package_items(self, path: Path) -> pl.DataFrame:
        body = decode(read_bytes(path), "utf-8", path).split("\n", 1)[1]
        table = split_lines(body, "\t", ("item_id", "name", "bracket", "genres"), path)
        genres = table["genres"].str.replace_all(" ", "|", literal=True).to_list()
        return _items(table["item_id"].to_list(), list(map(_package_title, table["name"], table["bracket"])), genres)


@dataclass(frozen=True)
class MovieLens1M:
    """`ratings.dat` and `movies.dat` (latin-1), fields separated by two colons, plain or gzipped.

    Attributes:
        root: the folder with both files; None looks in the cache's data folder.
    """

    root: str | Path | None = None

    def files(self) -> dict[str, Path]:
        """Return the ratings and the movies file."""
        folder = fetch(ML_1M, None if self.root is None else Path(self.root))
        found = {"ratings": locate(folder, "ratings.dat"), "items": locate(folder, "movies.dat")}
        return {role: path for role, path in found.items() if path is not None}

    def identity(self) -> dict[str, Any]:
        """Return what the tables depend on beside the files."""
        return {"reader": "movielens_1m"}

    def read(self) -> RawTables:
        """Read both files."""
        paths = self.files()
        interactions = _ratings(
            decode(read_bytes(paths["ratings"]), "utf-8", paths["ratings"]), "::", paths["ratings"], False
        )
        path = paths["items"]
        table = split_lines(decode(read_bytes(path), "latin-1", path), "::", ("item_id", "title", "genres"), path)
        titles = table["title"].str.strip_chars().to_list()
        return RawTables(interactions, _items(table["item_id"].to_list(), titles, table["genres"].to_list()))
