"""A person's own tables: one of interactions, one of items, CSV or Parquet, under any column names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import polars as pl

from recsys_lora.data.readers.csv_file import read_csv, row_place
from recsys_lora.data.readers.text import numbers
from recsys_lora.data.schema import INTERACTION_COLUMNS, TEXT_COLUMNS, Dropped, RawTables, Remark
from recsys_lora.errors import UserError

Time = Literal["seconds", "milliseconds", "iso"]
ISO_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f%z", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d")


@dataclass(frozen=True)
class Tables:
    """Two tables.

    Attributes:
        interactions: one row a rating; .parquet, else CSV, plain or gzipped; has to be given.
        items: one row an item; None: items have no titles.
        root: the folder that both are relative to; None: the present one.
        columns: the file's name of each of our columns, where they differ.
        separator: of CSV fields; None: a tab for .tsv, else a comma.
        encoding: of CSV files.
        time: what timestamps are; a Parquet column of dates or times needs none.
    """

    interactions: str | None = None
    items: str | None = None
    root: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    separator: str | None = None
    encoding: str = "utf-8"
    time: Time = "seconds"

    def files(self) -> dict[str, Path]:
        """Return the tables' files."""
        if not self.interactions:
            raise UserError(
                "no table is named: data.interactions=FILE data.items=FILE (columns: see conf/data/table.yaml)"
            )
        base = Path(self.root).expanduser() if self.root else Path()
        named = {"interactions": self.interactions} | ({"items": self.items} if self.items else {})
        found = {role: base / Path(name).expanduser() for role, name in named.items()}
        for role, path in found.items():
            if not path.is_file():
                raise UserError(f"{path.absolute()}: no such file: correct data.{role}")
        return found

    def identity(self) -> dict[str, Any]:
        """Return what the tables depend on beside the files."""
        knobs = {"separator": self.separator, "encoding": self.encoding, "time": self.time}
        return {"reader": "table", "columns": dict(self.columns), **knobs}

    def read(self) -> RawTables:
        """Read both files."""
        paths = self.files()
        path = paths["interactions"]
        table, place = self._load(path)
        table = self._renamed(table, path, tuple(INTERACTION_COLUMNS), TEXT_COLUMNS)
        table = table.select([*INTERACTION_COLUMNS, *(c for c in TEXT_COLUMNS if c in table.columns)])
        table = table.with_columns(_ids(table["user_id"], path), _ids(table["item_id"], path)).with_row_index("_row")
        whole = table.drop_nulls(list(INTERACTION_COLUMNS))
        dropped = [Dropped("a user, an item, a rating or a timestamp is missing", len(table) - len(whole))]

        def where(row: int) -> str:
            return place(whole["_row"][row])

        rating, timestamp = _numbers(whole, "rating", pl.Float32(), where), self._seconds(whole, where)
        rows = whole.with_columns(rating, timestamp).drop("_row")
        if "items" not in paths:
            ids = rows["item_id"].unique(maintain_order=True)
            return RawTables(rows, pl.DataFrame({"item_id": ids}).with_columns(title=pl.lit(None, pl.String)), dropped)
        items, remarks = self._items(paths["items"], rows)
        return RawTables(rows, items, dropped, remarks)

    def _items(self, path: Path, rows: pl.DataFrame) -> tuple[pl.DataFrame, list[Remark]]:
        table, _ = self._load(path)
        table = self._renamed(table, path, ("item_id", "title"), ())
        table = table.with_columns(_ids(table["item_id"], path), pl.col("title").cast(pl.String))
        named = table.drop_nulls("item_id")
        items = named.unique("item_id", keep="last", maintain_order=True)
        unknown = len(rows.select(pl.col("item_id").unique()).join(items, on="item_id", how="anti"))
        remarks = [
            Remark("rows of the items table without an id", len(table) - len(named)),
            Remark("rows of the items table that a later one of the same item replaces", len(named) - len(items)),
            Remark("items of the interactions that the items table does not have: no title", unknown),
            Remark("items whose title is empty", items["title"].null_count()),
        ]
        return items.select("item_id", "title", pl.exclude("item_id", "title")), [r for r in remarks if r.count]

    def _load(self, path: Path) -> tuple[pl.DataFrame, Callable[[int], str]]:
        """Return a table and what tells the place of its row."""
        if path.suffix != ".parquet":
            separator = self.separator or ("\t" if ".tsv" in path.suffixes else ",")
            table = read_csv(path, separator, self.encoding)
            return table, lambda row: row_place(path, separator, self.encoding, row)
        try:
            return pl.read_parquet(path), lambda row: f"{path}, row {row + 1}"
        except (OSError, pl.exceptions.PolarsError) as error:
            raise UserError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from error

    def _renamed(
        self, table: pl.DataFrame, path: Path, needed: tuple[str, ...], optional: tuple[str, ...]
    ) -> pl.DataFrame:
        """Give the file's columns our names.

        Raises:
            UserError: a needed column is not there.
        """
        renamed = {}
        for ours in (*needed, *optional):
            theirs = self.columns.get(ours, ours)
            if theirs in table.columns:
                renamed[theirs] = ours
            elif ours in needed:
                near = get_close_matches(theirs, table.columns, n=1, cutoff=0.4)
                name = near[0] if near else "NAME"
                raise UserError(
                    f"{path}: no column {theirs!r} (the file has: {', '.join(table.columns)}): say which it is, "
                    f"data.columns.{ours}={name}"
                )
        others = [column for column in table.columns if column not in renamed and column not in renamed.values()]
        return table.select(*renamed, *others).rename(renamed)

    def _seconds(self, table: pl.DataFrame, where: Callable[[int], str]) -> pl.Series:
        """Return timestamps in seconds UTC."""
        column = table["timestamp"]
        if column.dtype.is_temporal():
            return column.cast(pl.Datetime("ms")).dt.epoch("s").alias("timestamp")
        if self.time != "iso":
            values = _numbers(table, "timestamp", pl.Int64(), where)
            return values // 1000 if self.time == "milliseconds" else values
        text = column.cast(pl.String).str.strip_chars().str.replace(r"Z$", "+00:00")
        parsed = pl.Series("timestamp", [None] * len(text), pl.Int64)
        for form in ISO_FORMATS:
            when = text.str.to_datetime(form, strict=False, time_unit="ms", time_zone="UTC" if "%z" in form else None)
            parsed = parsed.fill_null(when.dt.epoch("s"))
        if parsed.null_count():
            row = int(parsed.is_null().to_numpy().argmax())
            raise UserError(
                f"{where(row)}: timestamp is {column[row]!r}, not a date as 2024-05-31T18:00:00: correct it"
            )
        return parsed


def _ids(column: pl.Series, path: Path) -> pl.Series:
    """Return raw ids as text; whole numbers that a null has turned into floats lose their ".0"."""
    if column.dtype.is_float():
        if not (column.drop_nulls().floor() == column.drop_nulls()).all():
            raise UserError(f"{path}: {column.name} has numbers with decimals: ids are whole numbers or text")
        column = column.cast(pl.Int64)
    return column.cast(pl.String)


def _numbers(table: pl.DataFrame, column: str, dtype: pl.DataType, where: Callable[[int], str]) -> pl.Series:
    if table[column].dtype.is_integer():
        return table[column].cast(dtype)
    return numbers(table.select(pl.col(column).cast(pl.String)), column, dtype, where)
