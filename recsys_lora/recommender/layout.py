"""Accepted column names of tables given to a run: our names, or those of the run's own files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from recsys_lora.data.readers.times import UNITS
from recsys_lora.utils.errors import UserError

USER, ITEM, TITLE, RATING, TIMESTAMP = "user", "item", "title", "rating", "timestamp"
_USUAL = {USER: ("user", "user_id"), ITEM: ("item", "item_id")}
_KEYS = {USER: "user_id", ITEM: "item_id"}
"""The config's names of columns, where they differ from ours."""


@dataclass(frozen=True)
class Layout:
    """The columns of a table given to a run.

    Attributes:
        own: the run's own name for each of our columns, if its config gives one.
        time: the strptime format of dates in the run's own files; None: it is detected.
    """

    own: Mapping[str, str]
    time: str | None = None

    @classmethod
    def of_events(cls, reader: Mapping[str, Any]) -> "Layout":
        """Return the layout of events and users, given the config of the run's reader."""
        time = reader.get("time")
        written = isinstance(time, str) and time not in UNITS and time != "iso"
        return cls(_named(reader.get("columns")), time if written else None)

    @classmethod
    def of_items(cls, reader: Mapping[str, Any]) -> "Layout":
        """Return the layout of new items, given the config of the run's reader."""
        return cls({**_named(reader.get("columns")), **_named(reader.get("item_columns"))})

    def arranged(self, table: pl.DataFrame, wanted: Sequence[str], what: str) -> pl.DataFrame:
        """Return a table with our names.

        Args:
            table: with any names; the run's own take precedence.
            wanted: our names of the columns.
            what: the table's name, for messages.

        Raises:
            UserError: two columns match one of our names.
        """
        found = {name: ours for ours in wanted if (name := self._name(table, ours, what)) is not None}
        others = [name for name in table.columns if name not in found and name not in found.values()]
        return table.select(*(pl.col(name).alias(ours) for name, ours in found.items()), *map(pl.col, others))

    def called(self, ours: str) -> str:
        """Return the accepted names of one of our columns, for messages."""
        return " or ".join(dict.fromkeys([*self._usual(ours), *([self.own[ours]] if ours in self.own else [])]))

    def _name(self, table: pl.DataFrame, ours: str, what: str) -> str | None:
        if (own := self.own.get(ours)) in table.columns:
            return own
        found = [name for name in self._usual(ours) if name in table.columns]
        if len(found) > 1:
            raise UserError(f"{what}: columns {' and '.join(found)}: leave one of them out")
        return next(iter(found), None)

    def _usual(self, ours: str) -> list[str]:
        """Return our names for a column, without those that the run's own files use for another."""
        taken = {name for other, name in self.own.items() if other != ours}
        return [name for name in _USUAL.get(ours, (ours,)) if name not in taken]


def _named(columns: Any) -> dict[str, str]:
    """Return the names in a reader's mapping of columns, by ours; columns given by position are left out."""
    if not isinstance(columns, Mapping):
        return {}
    ours = {ours: columns.get(_KEYS.get(ours, ours)) for ours in (USER, ITEM, TITLE, RATING, TIMESTAMP)}
    return {column: name for column, name in ours.items() if isinstance(name, str)}


def as_text(ids: pl.Series) -> pl.Series:
    """Return ids as text; integers that pandas has turned into floats lose their decimal point.

    Raises:
        UserError: the ids are lists or records.
    """
    if ids.dtype.is_nested():
        raise UserError(f"{ids.name}: {ids.to_list()[0]!r} is no id: give text or numbers")
    if ids.dtype.is_float() and (ids == ids.round()).all():
        ids = ids.cast(pl.Int64)
    return ids.cast(pl.String)
