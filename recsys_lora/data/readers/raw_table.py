"""A raw file as something that SQL can select from, and from which the place of any of its rows can be told."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from recsys_lora.data.engine import Engine, first_line, name
from recsys_lora.data.readers.source import Part
from recsys_lora.utils.errors import UserError

MEGABYTE = 1e6
VARCHAR = "VARCHAR"


@dataclass(frozen=True)
class Column:
    """One column of a raw file.

    Attributes:
        sql: how it is selected.
        kind: its SQL type.
    """

    sql: str
    kind: str = VARCHAR


@dataclass(frozen=True)
class Piece:
    """One part of a raw table.

    Attributes:
        part: the file.
        relation: what follows FROM.
        place: tells where row n (from 0) stands.
        explain: says what is wrong with a part that DuckDB cannot read; returns another way to read it where it is
            DuckDB that is too strict, or raises.
    """

    part: Part
    relation: str
    place: Callable[[int], str]
    explain: Callable[[duckdb.Error], str]


@dataclass(frozen=True)
class RawTable:
    """A raw file, or a folder of parts with the same columns.

    Attributes:
        path: as the person named it.
        columns: by name, in order.
        pieces: the parts in order.
        headless: the columns have no names but their positions.
        doubtful: the names look like data, and no option says that they are names.
        open_ended: records may have further keys than `columns`, which has those of the first.
        repeated: names that more than one column has.
        missing_knob: the config key that says which texts stand for no value; "" where nothing can be said.
        starts: rows before each piece, filled in as they are read.
    """

    path: Path
    columns: dict[str, Column]
    pieces: list[Piece]
    headless: bool = False
    doubtful: bool = False
    open_ended: bool = False
    repeated: frozenset[str] = frozenset()
    missing_knob: str = ""
    starts: list[int] = field(default_factory=list)

    def place(self, line: int) -> str:
        """Return where a row stands, counted from 0 over all parts."""
        number = max(n for n, start in enumerate(self.starts) if start <= line)
        return self.pieces[number].place(line - self.starts[number])

    def load(self, engine: Engine, into: str, select: Mapping[str, str]) -> None:
        """Make a table of expressions over the columns, in the order of the file.

        Its first column, `line`, numbers all rows of all parts from 0.

        Raises:
            UserError: a part cannot be read: names the line.
        """
        listed = ", ".join(f"{sql} AS {name(alias)}" for alias, sql in select.items())
        self.starts.clear()
        for number, piece in enumerate(self.pieces):
            start = engine.count(into) if number else 0
            self.starts.append(start)
            begin = f"INSERT INTO {into}" if number else f"CREATE OR REPLACE TABLE {into} AS"

            def read(relation: str, begin: str = begin, start: int = start, piece: Piece = piece) -> None:
                query = f"SELECT row_number() OVER () - 1 + {start} AS line, {listed} FROM {relation}"
                megabytes = piece.part.path.stat().st_size / MEGABYTE
                engine.run(f"{begin} {query}", f"reading {piece.part.origin.name}", (megabytes, "MB"))

            try:
                read(piece.relation)
            except duckdb.Error as error:
                other = piece.explain(error)
                try:
                    read(other)
                except duckdb.Error as again:
                    raise UserError(f"{piece.part.origin}: cannot be read ({first_line(again)})") from again
