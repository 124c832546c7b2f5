"""The data contract: what a reader yields, what a split decides.

A reader turns raw files into tables of an engine (`recsys_lora.data.engine`), whatever the data set:

* interactions: `line` (the place in the file, from 0), `user_id` and `item_id` text, `rating` FLOAT, `timestamp` BIGINT
  (seconds, UTC), optionally `review` and `summary`;
* items: `line`, `item_id`, `title` text or null, any further columns as attributes;
* optionally users: `line`, `user_id`, attributes.

A split assigns each kept row to a part (train, valid, test) and orders the rows. Raw ids are strings at the boundary;
internally, users and items are integers from 1, and 0 is padding. **Nothing depends on the raw ids**, except the
published split of ML-1M, which orders users by them: ties are broken by the place in the file, never by an id.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from recsys_lora.data.engine import Engine
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.words import counted

SplitName = Literal["train", "valid", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "valid", "test")

INTERACTIONS, ITEMS, USERS = "interactions", "items", "users"
"""The default names of a reader's tables."""
INTERACTION_COLUMNS = {
    "line": "BIGINT",
    "user_id": "VARCHAR",
    "item_id": "VARCHAR",
    "rating": "FLOAT",
    "timestamp": "BIGINT",
}
TEXT_COLUMNS = ("review", "summary")


@dataclass(frozen=True)
class Dropped:
    """How many rows were left out, and why."""

    reason: str
    rows: int


@dataclass(frozen=True)
class Remark:
    """Something else to know about the data, such as repaired or missing titles, with a count if there is one."""

    text: str
    count: int | None


@dataclass(frozen=True)
class RawTables:
    """A reader's result: tables of the engine that it was given, with the columns listed in the module's docstring.

    Attributes:
        interactions: the name of a table with one row per interaction.
        items: one row per item.
        users: one row per user; None if nothing is known about users.
        dropped: rows that the reader left out.
        remarks: what it repaired or found missing.
        rated: False if rows have no ratings and are all positives (purchases, plays, clicks); `rating` is then 1.
        timed: False if rows have no times and are in file order; `timestamp` is then the place in the file.
    """

    interactions: str = INTERACTIONS
    items: str = ITEMS
    users: str | None = None
    dropped: Sequence[Dropped] = field(default_factory=tuple)
    remarks: Sequence[Remark] = field(default_factory=tuple)
    rated: bool = True
    timed: bool = True


class Reader(Protocol):
    """A reader of one raw format."""

    def files(self) -> dict[str, Path]:
        """Return the raw files by role, fetching them first if possible.

        Raises:
            UserError: a file is missing; says which, where to get it and where to put it.
        """
        ...

    def identity(self) -> dict[str, Any]:
        """Return the JSON-able settings that the tables depend on, without paths: files count by their checksums."""
        ...

    def read(self, engine: Engine) -> RawTables:
        """Read the files into tables of an engine.

        Raises:
            UserError: a file cannot be read; names the file, the line and the reason.
        """
        ...


@dataclass(frozen=True)
class RowTables:
    """A split's input: tables of the engine, after all filters.

    Attributes:
        engine: holds the tables.
        rows: table of `line`, `user`, `item` (integers from 1 by first appearance in the file), `rating`, `timestamp`.
        users: table of `user`, `user_id`.
        items: table of `item`, `item_id`.
        catalogue: the reader's items table.
        timed: whether timestamps are times, not places in the file.
    """

    engine: Engine
    rows: str = "rows"
    users: str = "raw_users"
    items: str = "raw_items"
    catalogue: str = ITEMS
    timed: bool = True


@dataclass(frozen=True)
class SplitResult:
    """A split's result.

    Attributes:
        rows: table of `line`, `split`, `place`, ordered by user number, each user's rows in the order of the user's
            history.
        users: query of `user` and `first`, by which users are numbered; None: by first appearance in that order.
        items: the same for `item`.
        dropped: rows that the split left out.
    """

    rows: str
    users: str | None = None
    items: str | None = None
    dropped: Sequence[Dropped] = field(default_factory=tuple)


class Split(Protocol):
    """A pure function from rows to train, valid and test."""

    @property
    def published_valid(self) -> float | None:
        """The share of the valid rows in the sample that published work validates on; None if there is none."""
        ...

    def identity(self) -> dict[str, Any]:
        """Return the JSON-able settings that the split depends on."""
        ...

    def arrange(self, rows: RowTables) -> SplitResult:
        """Split and order the rows."""
        ...


def check_tables(engine: Engine, tables: RawTables, name: str) -> None:
    """Refuse tables that break the contract.

    Raises:
        UserError: a column is missing, has another type or missing values, an item is listed twice, or there are no
            rows.
    """
    present = engine.columns(tables.interactions)
    for column, kind in INTERACTION_COLUMNS.items():
        if present.get(column) != kind:
            raise UserError(
                f"data={name}: interactions need the column {column} as {kind}, it is "
                f"{present.get(column, 'missing')}: correct the reader"
            )
    missing = ", ".join(f"count(*) - count({column})" for column in INTERACTION_COLUMNS)
    for column, count in zip(
        INTERACTION_COLUMNS, engine.rows(f"SELECT {missing} FROM {tables.interactions}")[0], strict=True
    ):
        if count:
            raise UserError(
                f"data={name}: {column} is missing in {counted(count, 'interaction')}: the reader has to drop and "
                "report them"
            )
    if not engine.count(tables.interactions):
        raise UserError(f"data={name}: no interactions: the files hold no row that could be used")
    _check_listed(engine, tables.items, ("line", "item_id", "title"), name)
    if tables.users:
        _check_listed(engine, tables.users, ("line", "user_id"), name)


def _check_listed(engine: Engine, table: str, columns: Sequence[str], name: str) -> None:
    present = engine.columns(table)
    for column in columns:
        if present.get(column) != ("BIGINT" if column == "line" else "VARCHAR"):
            raise UserError(f"data={name}: {table} need the column {column} as text: correct the reader")
    key = columns[1]
    if twice := engine.rows(f"SELECT {key} FROM {table} GROUP BY {key} HAVING count(*) > 1 LIMIT 1"):
        raise UserError(
            f"data={name}: {key} {twice[0][0]} is listed more than once: the reader has to choose one record"
        )
