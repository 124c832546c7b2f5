"""The data contract: what a reader yields, what a split decides.

A reader turns raw files into tables of an engine (`recsys_lora.data.engine`), whatever the data set:

* interactions: `line` (the place in the file, from 0), `user_id` and `item_id` text, `rating` FLOAT, `timestamp` BIGINT
  (seconds, UTC), optionally `review` and `summary`;
* items: `line`, `item_id`, `title` text or null, any further columns as attributes;
* optionally users: `line`, `user_id`, attributes.

A split gives each kept row a part (train, valid, test) and an order. Raw ids stay strings at the edge; inside, users
and items are integers from 1 and 0 is padding. **Nothing depends on what ids are called**: ties fall back on the place
in the file, never on an id.
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
"""The names of a reader's tables; it may give them others."""
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
    """Something else a person should know about the data: a repaired title, a missing one; a count if there is one."""

    text: str
    count: int | None


@dataclass(frozen=True)
class RawTables:
    """What a reader yields: tables of the engine it was given; the module's docstring says which columns.

    Attributes:
        interactions: the name of a table, one row an interaction.
        items: one row an item.
        users: one row a user; None where there is nothing to say of users.
        dropped: rows that the reader left out.
        remarks: what it repaired or found missing.
        rated: False where rows have no rating but are positives as they are (purchases, plays, clicks); `rating` is 1.
        timed: False where rows have no time but stand in their order; `timestamp` is then the place in the file.
    """

    interactions: str = INTERACTIONS
    items: str = ITEMS
    users: str | None = None
    dropped: Sequence[Dropped] = field(default_factory=tuple)
    remarks: Sequence[Remark] = field(default_factory=tuple)
    rated: bool = True
    timed: bool = True


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

    def read(self, engine: Engine) -> RawTables:
        """Read the files into tables of an engine.

        Raises:
            UserError: names the file, the line and the reason where a file cannot be read.
        """
        ...


@dataclass(frozen=True)
class RowTables:
    """What a split sees: tables of the engine, after all filters.

    Attributes:
        engine: whose tables they are.
        rows: table of `line`, `user`, `item` (integers from 1 by first appearance in the file), `rating`, `timestamp`.
        users: table of `user`, `user_id`.
        items: table of `item`, `item_id`.
        catalogue: the reader's items.
        timed: whether timestamps are times.
    """

    engine: Engine
    rows: str = "rows"
    users: str = "raw_users"
    items: str = "raw_items"
    catalogue: str = ITEMS
    timed: bool = True


@dataclass(frozen=True)
class SplitResult:
    """What a split yields.

    Attributes:
        rows: table of `line`, `split`, `place`: users stand together, in the order of their numbers, each user's rows
            in the order in which history is walked.
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
        """The share of the valid rows in the sample that published work validates on; None where there is none."""
        ...

    def identity(self) -> dict[str, Any]:
        """Return the JSON-able knobs that the split depends on."""
        ...

    def arrange(self, rows: RowTables) -> SplitResult:
        """Split and order the rows."""
        ...


def check_tables(engine: Engine, tables: RawTables, name: str) -> None:
    """Refuse tables that break the contract.

    Raises:
        UserError: a column is missing, has another type or a missing value, an item is listed twice; there is no row.
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
