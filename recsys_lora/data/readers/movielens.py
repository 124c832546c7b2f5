"""MovieLens: 100K in both its formats, 1M, and the folders of 10M to 32M and `latest`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys_lora.assets.fetch import fetch, locate
from recsys_lora.assets.registry import ML_1M, ML_100K
from recsys_lora.data.engine import Engine
from recsys_lora.data.readers import columns as raw
from recsys_lora.data.readers.opened import open_table
from recsys_lora.data.readers.text_format import TextFormat
from recsys_lora.data.readers.times import timestamp
from recsys_lora.data.schema import INTERACTIONS, ITEMS, RawTables
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.words import counted

GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
"""The order of u.item's 19 flags."""

YEAR = re.compile(r"\((\d{4})\)")
LAST_BRACKET = re.compile(r"^(?P<name>.*?)\s*\((?P<inside>[^()]*)\)$")
WHERE = "https://grouplens.org/datasets/movielens/ (10M, 20M, 25M, 32M, latest, latest-small)"
NO_NAME = "unkonwn"  # the package's spelling of item 267, which the publisher calls "unknown"


def _pair(folder: Path, *names: tuple[str, str]) -> dict[str, Path]:
    """Return the first pair of ratings and items files that a folder has, plain or gzipped; empty if none."""
    for ratings, items in names:
        first, second = locate(folder, ratings), locate(folder, items)
        if first is not None and second is not None:
            return {"ratings": first, "items": second}
    return {}


def _ratings(path: Path, engine: Engine, separator: str | None, header: bool, names: Sequence[str] = ()) -> None:
    """Read user, item, rating and seconds, in this order or under these names."""
    form = TextFormat(separator, header=header, quote="none")
    table = open_table(path, engine, form, names, "data.root", knob=None)
    columns = list(names) or list(table.columns)[:4]
    if len(columns) < 4 or not set(columns) <= set(table.columns):
        raise UserError(
            f"{path}, line 1: {counted(len(table.columns), 'field')} where user, item, rating and timestamp should be"
        )
    roles = {role: raw.identifier(table, column) for role, column in zip(("user_id", "item_id"), columns, strict=False)}
    roles["rating"] = raw.rating(table, columns[2])
    roles["timestamp"], _ = timestamp(table, engine, columns[3], "seconds")
    if missing := raw.load(engine, table, INTERACTIONS, roles, {}).missing:
        raise UserError(f"{path}: a value is missing in {counted(missing, 'line')}: download it again")


def _fields(
    path: Path,
    engine: Engine,
    separator: str,
    encoding: str,
    header: bool,
    columns: Sequence[str],
    quoted: bool = False,
) -> list[list[str]]:
    """Return the first columns of a small file as lists; empty fields are ""."""
    form = TextFormat(separator, encoding, header, "double" if quoted else "none")
    table = open_table(path, engine, form, (), "data.root", knob=None)
    if len(table.columns) != len(columns):
        raise UserError(
            f"{path}, line 1: {counted(len(table.columns), 'field')} where {len(columns)} ({', '.join(columns)}) "
            f"separated by {separator!r} should be"
        )
    select = {f"f{n}": f"coalesce({column.sql}, '')" for n, column in enumerate(table.columns.values())}
    table.load(engine, "fields", select)
    return [
        list(column) for column in zip(*engine.rows("SELECT * EXCLUDE (line) FROM fields ORDER BY line"), strict=True)
    ]


def _items(engine: Engine, ids: Sequence[str], titles: Sequence[str], genres: Sequence[str]) -> RawTables:
    """Make the items table; the year is the last (dddd) of a title, null if it has none."""
    years = [int(found[-1]) if (found := YEAR.findall(title)) else None for title in titles]
    columns: dict[str, tuple[str, Sequence[Any]]] = {
        "line": ("BIGINT", range(len(ids))),
        "item_id": ("VARCHAR", ids),
        "title": ("VARCHAR", titles),
        "year": ("INTEGER", years),
        "genres": ("VARCHAR", genres),
    }
    engine.fill(ITEMS, columns)
    return RawTables()


def _package_title(name: str, bracket: str) -> str:
    """Rebuild a title that the package has split into the name and the contents of the last brackets."""
    return "unknown" if name == NO_NAME else f"{name.strip()} ({bracket.strip()})"


def _publisher_title(title: str) -> str:
    """Write a title with exactly one space before its last brackets."""
    match = LAST_BRACKET.match(title.strip())
    return f"{match['name']} ({match['inside'].strip()})" if match else title.strip()


@dataclass(frozen=True)
class MovieLens100K:
    """The publisher's `u.data` and `u.item` (latin-1), or the recbole package's `ml-100k.inter` and `ml-100k.item`.

    Both give the same tables: the same rows in the same order, items with the columns that both formats have.

    Attributes:
        root: a folder with either pair of files, plain or gzipped; None fetches them.
    """

    root: str | Path | None = None

    def files(self) -> dict[str, Path]:
        """Return the ratings and the items file, of whichever format the folder has.

        Raises:
            UserError: the folder has neither format.
        """
        folder = fetch(ML_100K, None if self.root is None else Path(self.root))
        if found := _pair(folder, ("u.data", "u.item"), ("ml-100k.inter", "ml-100k.item")):
            return found
        raise UserError(f"{folder}: neither u.data and u.item nor ml-100k.inter and ml-100k.item are here")

    def identity(self) -> dict[str, Any]:
        """Return the settings that the tables depend on."""
        return {"reader": "movielens_100k"}

    def read(self, engine: Engine) -> RawTables:
        """Read either format."""
        paths = self.files()
        ratings, items = paths["ratings"], paths["items"]
        published = items.name.startswith("u.item")
        _ratings(ratings, engine, "\t", header=not published)
        return self._publisher_items(items, engine) if published else self._package_items(items, engine)

    def _publisher_items(self, path: Path, engine: Engine) -> RawTables:
        columns = ("item_id", "title", "released", "video_released", "url", *GENRES_100K)
        ids, titles, _, _, _, *flags = _fields(path, engine, "|", "latin-1", False, columns)
        genres = [
            "|".join(genre for genre, flag in zip(GENRES_100K, row, strict=True) if flag == "1")
            for row in zip(*flags, strict=True)
        ]
        return _items(engine, ids, list(map(_publisher_title, titles)), genres)

    def _package_items(self, path: Path, engine: Engine) -> RawTables:
        ids, names, brackets, genres = _fields(
            path, engine, "\t", "utf-8", True, ("item_id", "name", "bracket", "genres")
        )
        return _items(engine, ids, list(map(_package_title, names, brackets)), [g.replace(" ", "|") for g in genres])


@dataclass(frozen=True)
class MovieLens1M:
    """`ratings.dat` and `movies.dat` (latin-1), fields separated by two colons, plain or gzipped.

    Attributes:
        root: the folder with both files; None looks in the cache's folder of this asset.
    """

    root: str | Path | None = None

    def files(self) -> dict[str, Path]:
        """Return the ratings and the movies file."""
        return _pair(fetch(ML_1M, None if self.root is None else Path(self.root)), ("ratings.dat", "movies.dat"))

    def identity(self) -> dict[str, Any]:
        """Return the settings that the tables depend on."""
        return {"reader": "movielens_1m"}

    def read(self, engine: Engine) -> RawTables:
        """Read both files."""
        paths = self.files()
        _ratings(paths["ratings"], engine, "::", header=False)
        return _movies(paths["items"], engine, "latin-1")


@dataclass(frozen=True)
class MovieLens:
    """MovieLens-10M (`ratings.dat`, `movies.dat`, UTF-8), 20M to 32M and `latest` (`ratings.csv`, `movies.csv`).

    Attributes:
        root: the folder with either pair, plain or gzipped; required.
    """

    root: str | Path | None = None

    def files(self) -> dict[str, Path]:
        """Return the ratings and the movies file.

        Raises:
            UserError: no folder is given, or they are not in it.
        """
        if self.root is None:
            raise UserError(f"data.root=FOLDER has to be given: the unpacked folder of one of {WHERE}")
        folder = Path(self.root).expanduser()
        if found := _pair(folder, ("ratings.csv", "movies.csv"), ("ratings.dat", "movies.dat")):
            return found
        raise UserError(
            f"{folder}: neither ratings.csv and movies.csv nor ratings.dat and movies.dat: get one of {WHERE}"
        )

    def identity(self) -> dict[str, Any]:
        """Return the settings that the tables depend on."""
        return {"reader": "movielens"}

    def read(self, engine: Engine) -> RawTables:
        """Read both files."""
        paths = self.files()
        if paths["ratings"].name.startswith("ratings.dat"):
            _ratings(paths["ratings"], engine, "::", header=False)
            return _movies(paths["items"], engine, "utf-8")
        _ratings(paths["ratings"], engine, ",", True, ("userId", "movieId", "rating", "timestamp"))
        ids, titles, genres = _fields(
            paths["items"], engine, ",", "utf-8", True, ("movieId", "title", "genres"), quoted=True
        )
        return _items(engine, ids, [title.strip() for title in titles], genres)


def _movies(path: Path, engine: Engine, encoding: str) -> RawTables:
    ids, titles, genres = _fields(path, engine, "::", encoding, False, ("item_id", "title", "genres"))
    return _items(engine, ids, [title.strip() for title in titles], genres)
