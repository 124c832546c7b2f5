"""The data contract: what a reader yields, what a split decides.

A reader turns raw files into two tables, whatever the data set:

* interactions: `user_id` str, `item_id` str, `rating` float32, `timestamp` int64 (seconds, UTC), optionally `review`
  and `summary` (str); rows in file order, for the order of ties depends on it;
* items: `item_id` str, `title` str or null, any further columns as attributes.

A split gives each kept row a part (train, valid, test), the order of the rows and the numbering of users and items.
Raw ids stay strings at the edge; inside, users and items are integers from 1 and 0 is padding.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import polars as pl

from recsys_lora.errors import UserError

SplitName = Literal["train", "valid", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "valid", "test")

INTERACTION_COLUMNS: dict[str, pl.DataType] = {
    "user_id": pl.String(),
    "item_id": pl.String(),
    "rating": pl.Float32(),
    "timestamp": pl.Int64(),
}
TEXT_COLUMNS = ("review", "summary")


@dataclass(frozen=True)
class Dropped:
    """How many rows were left out, and why."""

    reason: str
    rows: int


@dataclass(frozen=True)
class Remark:
    """Something else a person should know about the data: a repaired title, a missing one."""

    text: str
    count: int


@dataclass(frozen=True)
class RawTables:
    """What a reader yields; the module's docstring says which columns.

    Attributes:
        interactions: one row a rating, in file order.
        items: one row an item.
        dropped: rows that the reader left out.
        remarks: what it repaired or found missing.
    """

    interactions: pl.DataFrame
    items: pl.DataFrame
    dropped: Sequence[Dropped] = field(default_factory=tuple)
    remarks: Sequence[Remark] = field(default_factory=tuple)


class Reader(Protocol):
    """One raw format."""

    def files(self) -> dict[str, Path]:
        """Return the raw files by role, fetched first where they can be.

        Raises:
            UserError: says which file is missing, from where to get it and into which folder to put it.
        """
        ...

    def identity(self) -> dict[str, Any]:
        """Return the JSON-able knobs that the tables depend on, without paths: the files' checksums stand for those."""
        ...

    def read(self) -> RawTables:
        """Read the files.

        Raises:
            UserError: names the file, the line and the reason where a file cannot be read.
        """
        ...


@dataclass(frozen=True)
class Arranged:
    """What a split yields.

    Attributes:
        interactions: the kept rows with a column `split`; users in the order of their numbers, each user's rows
            in the order in which history is walked.
        user_ids: raw ids in the order of their numbers, the first is number 1.
        item_ids: the same for items.
        dropped: rows that the split left out.
    """

    interactions: pl.DataFrame
    user_ids: pl.Series
    item_ids: pl.Series
    dropped: Sequence[Dropped] = field(default_factory=tuple)


class Split(Protocol):
    """A pure function from tables to train, valid and test rows."""

    @property
    def published_valid(self) -> float | None:
        """The share of the valid rows in the sample that published work validates on; None where there is none."""
        ...

    def identity(self) -> dict[str, Any]:
        """Return the JSON-able knobs that the split depends on."""
        ...

    def arrange(self, tables: RawTables) -> Arranged:
        """Split, order and number the rows."""
        ...


def check_tables(tables: RawTables, name: str) -> None:
    """Refuse tables that break the contract.

    Raises:
        UserError: a column is missing, has another type or a missing value, an item is listed twice; there is no row.
    """
    interactions, items = tables.interactions, tables.items
    for column, dtype in INTERACTION_COLUMNS.items():
        if interactions.schema.get(column) != dtype:
            found = interactions.schema.get(column, "missing")
            raise UserError(
                f"data={name}: interactions need the column {column} as {dtype}, it is {found}: mend the reader"
            )
        if missing := interactions[column].null_count():
            raise UserError(
                f"data={name}: {missing} interactions have no {column}: the reader has to drop and report them"
            )
    for column in ("item_id", "title"):
        if items.schema.get(column) != pl.String():
            raise UserError(f"data={name}: items need the column {column} as String: mend the reader")
    if items["item_id"].is_duplicated().any():
        twice = items.filter(pl.col("item_id").is_duplicated())["item_id"][0]
        raise UserError(f"data={name}: item {twice} is listed more than once: the reader has to choose one record")
    if interactions.is_empty():
        raise UserError(f"data={name}: no interactions: the files hold no rating that could be used")
