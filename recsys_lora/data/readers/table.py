"""User-provided tables: interactions, items, users; delimited text, JSON lines or Parquet, with any column names."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recsys_lora.data.engine import Engine, name
from recsys_lora.data.readers import columns as raw
from recsys_lora.data.readers.match import catalogue_of_interactions, compare_ids, same_spelling
from recsys_lora.data.readers.names import NEEDED, OPTIONAL, Names, column_of, columns_of
from recsys_lora.data.readers.opened import open_table
from recsys_lora.data.readers.raw_table import RawTable
from recsys_lora.data.readers.source import files_of
from recsys_lora.data.readers.text_format import Escape, Quote, TextFormat
from recsys_lora.data.readers.times import timestamp
from recsys_lora.data.readers.where import Where, condition, listed
from recsys_lora.data.schema import INTERACTIONS, ITEMS, TEXT_COLUMNS, USERS, Dropped, RawTables, Remark
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.words import counted

WORDS = {"user_id": "user", "item_id": "item", "rating": "rating", "timestamp": "timestamp"}
INDEX_COLUMNS = ("", "Unnamed: 0", "__index_level_0__", "index")


@dataclass(frozen=True)
class Tables:
    """Up to three tables. Each is a file or a folder of parts, whose kind is detected from the first bytes.

    Attributes:
        interactions: one row per interaction; required.
        items: one row per item; None: items have no titles.
        users: one row per user, for attributes in prompts; None: users have none.
        root: the folder that all are relative to; None: the current one.
        columns: the files' names for our columns, where they differ; a number is a position, from 1; None for `rating`
            means that every row is a positive, for `timestamp` that rows are in file order.
        item_columns: the same for the items only, where their names differ from the interactions'.
        user_columns: the same for the users.
        separator: see `TextFormat`, for all files.
        encoding: likewise.
        header: likewise.
        quote: likewise.
        escape: likewise.
        missing: likewise.
        item_format: the items' format, where it differs.
        user_format: the users', likewise.
        where: which interactions to keep: the values that a column may have, by its name or position; None: all.
        time: the format of timestamps: seconds, milliseconds, microseconds, nanoseconds, iso, or a strptime format;
            None detects it from the first one. A Parquet column of dates or times needs none.
    """

    interactions: str | None = None
    items: str | None = None
    users: str | None = None
    root: str | None = None
    columns: Names = field(default_factory=dict)
    item_columns: Names = field(default_factory=dict)
    user_columns: Names = field(default_factory=dict)
    separator: str | None = None
    encoding: str | None = None
    header: bool | None = None
    quote: Quote | None = None
    escape: Escape | None = None
    missing: Sequence[str] | None = None
    item_format: TextFormat = field(default_factory=TextFormat)
    user_format: TextFormat = field(default_factory=TextFormat)
    time: str | None = None
    where: Where | None = None

    def files(self) -> dict[str, Path]:
        """Return the tables' files; those of a folder of parts are numbered."""
        return {
            f"{role}.{number}" if path.is_dir() else role: part
            for role, path in self._paths().items()
            for number, part in enumerate(files_of(path, f"data.{role}"))
        }

    def identity(self) -> dict[str, Any]:
        """Return the settings that the tables depend on."""
        names = {key: dict(getattr(self, key)) for key in ("columns", "item_columns", "user_columns")}
        formats = {key: vars(getattr(self, key)) for key in ("format", "item_format", "user_format")}
        where = {str(column): listed(values) for column, values in (self.where or {}).items()}
        return {"reader": "table", "time": self.time, "where": where, **names, **formats}

    @property
    def format(self) -> TextFormat:
        """The interactions' format."""
        return TextFormat(self.separator, self.encoding, self.header, self.quote, self.escape, self.missing)

    def read(self, engine: Engine) -> RawTables:
        """Read the files."""
        paths = self._paths()
        wanted = [str(self.columns.get(column) or column) for column in (*NEEDED, *TEXT_COLUMNS)]
        table = open_table(paths["interactions"], engine, self.format, wanted, "data.interactions")
        dropped, remarks, rated, timed = self._interactions(table, engine)
        if "items" in paths:
            remarks += self._items(paths["items"], engine)
        else:
            catalogue_of_interactions(engine)
        if "users" in paths:
            self._users(paths["users"], engine)
        users = USERS if "users" in paths else None
        return RawTables(INTERACTIONS, ITEMS, users, dropped, remarks, rated=rated, timed=timed)

    def _paths(self) -> dict[str, Path]:
        if not self.interactions:
            raise UserError(
                "no table is named: data.interactions=FILE data.items=FILE (columns: see conf/data/table.yaml)"
            )
        base = Path(self.root).expanduser() if self.root else Path()
        named = {"interactions": self.interactions, "items": self.items, "users": self.users}
        return {role: base / Path(file).expanduser() for role, file in named.items() if file}

    def _interactions(self, table: RawTable, engine: Engine) -> tuple[list[Dropped], list[Remark], bool, bool]:
        columns = columns_of(table, [c for c in NEEDED if not self._absent(c)], self.columns, "columns")
        if columns["user_id"] == columns["item_id"]:
            raise UserError(
                f"{table.path}: data.columns.user_id and data.columns.item_id are the same column, "
                f"{columns['user_id']!r}: name another for one of them"
            )
        roles = {c: raw.identifier(table, columns[c]) for c in ("user_id", "item_id")}
        remarks = []
        if "rating" in columns:
            roles["rating"] = raw.rating(table, columns["rating"])
        if "timestamp" in columns:
            roles["timestamp"], taken = timestamp(table, engine, columns["timestamp"], self.time, "data.reader.time")
            if self.time is None and taken not in ("seconds", "dates"):
                form = "ISO dates" if taken == "iso" else taken
                remarks.append(Remark(f"timestamps are read as {form}: data.reader.time says otherwise", None))
        else:
            remarks.append(Remark("no timestamps: rows are taken in the order of the file", None))
        texts = {c: column_of(table, c, self.columns, "columns") for c in TEXT_COLUMNS}
        more = {c: raw.words(table, found) for c, found in texts.items() if found is not None}
        where, reason = condition(table, self.where)
        left = raw.load(engine, table, INTERACTIONS, roles, more, where)
        dropped = [Dropped(f"{', '.join(WORDS[c] for c in columns)}: one of them is missing", left.missing)]
        if self.where:
            dropped.insert(0, Dropped(reason, left.unwanted))
        if not engine.count(INTERACTIONS):
            found = "; ".join(f"{counted(drop.rows, 'row')}: {drop.reason}" for drop in dropped if drop.rows)
            what = f"no row is left ({found})" if found else "has a header and no rows"
            raise UserError(f"{table.path}: {what}: give a table with interactions")
        for absent, value in (("rating", "CAST(1 AS FLOAT)"), ("timestamp", "line")):
            if absent not in columns:
                kind = "FLOAT" if absent == "rating" else "BIGINT"
                engine.run(f"ALTER TABLE {INTERACTIONS} ADD COLUMN {absent} {kind}")
                engine.run(f"UPDATE {INTERACTIONS} SET {absent} = {value}")
        same_spelling(engine, INTERACTIONS, ("user_id", "item_id"))
        return dropped, remarks, "rating" in columns, "timestamp" in columns

    def _items(self, path: Path, engine: Engine) -> list[Remark]:
        table = self._side_table(path, engine, "item", ("item_id", "title"))
        names = self._side_names("item_columns")
        key, title = columns_of(table, ("item_id", "title"), names, "item_columns").values()
        more = {"title": raw.words(table, title)} | self._attributes(table, {key, title}, {"item_id", "title", "item"})
        missing = raw.load(engine, table, ITEMS, {"item_id": raw.identifier(table, key)}, more).missing
        _refuse_empty(engine, ITEMS, table, missing, "leave out data.items: then only CF models run")
        same_spelling(engine, ITEMS, ("item_id",))
        remarks = [Remark("rows of the items table without an id", missing), _last_of_each(engine, ITEMS, "item_id")]
        return [*remarks, *compare_ids(engine, path)]

    def _users(self, path: Path, engine: Engine) -> None:
        table = self._side_table(path, engine, "user", ("user_id",))
        names = self._side_names("user_columns")
        key = columns_of(table, ("user_id",), names, "user_columns")["user_id"]
        more = self._attributes(table, {key}, {"user_id", "user"})
        missing = raw.load(engine, table, USERS, {"user_id": raw.identifier(table, key)}, more).missing
        _refuse_empty(engine, USERS, table, missing, "leave out data.users")
        same_spelling(engine, USERS, ("user_id",))
        _last_of_each(engine, USERS, "user_id")

    def _side_table(self, path: Path, engine: Engine, side: str, columns: Sequence[str]) -> RawTable:
        form = getattr(self, f"{side}_format").over(self.format)
        names = self._side_names(f"{side}_columns")
        wanted = [str(names.get(column) or column) for column in columns]
        return open_table(path, engine, form, wanted, f"data.{side}s", f"data.reader.{side}_format", self.separator)

    def _side_names(self, knob: str) -> Names:
        """Return a side table's column names: its own, else the interactions'; positions apply to one file only."""
        own = {column: value for column, value in getattr(self, knob).items() if value is not None}
        shared = {c: value for c, value in self.columns.items() if c not in NEEDED or not isinstance(value, int)}
        return {**shared, **own}

    def _attributes(self, table: RawTable, taken: set[str], ours: set[str]) -> dict[str, str]:
        """Return SQL of the further columns; one with the name of a column of ours gets an underscore appended."""
        found = {}
        used = {name.lower() for name in ours} | {"line"}
        for column in table.columns:
            if column in taken or column in INDEX_COLUMNS:
                continue
            alias = column
            while alias.lower() in used:
                alias += "_"
            used.add(alias.lower())
            found[alias] = raw.attribute(table, column)
        return found

    def _absent(self, column: str) -> bool:
        return column in OPTIONAL and column in self.columns and self.columns[column] is None


def _refuse_empty(engine: Engine, role: str, table: RawTable, missing: int, otherwise: str) -> None:
    """Refuse a side table from which nothing was read."""
    if not engine.count(role):
        what = f"no id in {counted(missing, 'row')}" if missing else "has a header and no rows"
        raise UserError(f"{table.path}: {what}: give a table with {role}, or {otherwise}")


def _last_of_each(engine: Engine, table: str, key: str) -> Remark:
    replaced = engine.delete(table, f"line NOT IN (SELECT max(line) FROM {table} GROUP BY {name(key)})")
    return Remark(
        f"rows of the {table} table that a later one of the same {key.removesuffix('_id')} replaces", replaced
    )
