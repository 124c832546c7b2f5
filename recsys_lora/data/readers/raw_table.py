"""A raw file that SQL can select from, and that can locate any of its rows."""

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
        sql: the SQL that selects it.
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
        place: returns where row n (from 0) is.
        explain: called if DuckDB cannot read the part; returns another relation if DuckDB is only too strict, else
            raises an error that says what is wrong.
    """

    part: Part
    relation: str
    place: Callable[[int], str]
    explain: Callable[[duckdb.Error], str]


@dataclass(frozen=True)
class RawTable:
    """A raw file, or a folder of parts with the same columns.

    Attributes:
        path: as the user named it.
        columns: by name, in order.
        pieces: the parts in order.
        headless: the columns have positions instead of names.
        doubtful: the names look like data, and no option says that they are names.
        open_ended: records may have more keys than `columns`, which has those of the first ones.
        repeated: names that more than one column has.
        missing_knob: the config key that lists texts for missing values; "" if there is none.
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
        """Return where a row is, counted from 0 over all parts."""
        number = max(n for n, start in enumerate(self.starts) if start <= line)
        return self.pieces[number].place(line - self.starts[number])

    def load(self, engine: Engine, into: str, select: Mapping[str, str]) -> None:
        """Make a table of expressions over the columns, in the order of the file.

        Its first column, `line`, numbers all rows of all parts from 0.

        Raises:
            UserError: a part cannot be read; names the line.
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
