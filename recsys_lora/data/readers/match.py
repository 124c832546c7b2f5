"""Ids that should match between two tables: differences in spelling, and ids in only one of them."""

from collections.abc import Sequence
from pathlib import Path

from recsys_lora.data.engine import Engine, name
from recsys_lora.data.schema import INTERACTIONS, ITEMS, Remark
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.words import counted

PLAIN = "ltrim(regexp_replace(lower(trim(item_id)), '\\.0+$', ''), '0')"
"""An id without what other tools add or remove: leading zeros, a trailing ".0", capitals."""


def same_spelling(engine: Engine, table: str, columns: Sequence[str]) -> None:
    """Remove ".0" from ids if every id of a column has it: integers that pandas has turned into floats."""
    for column in map(name, columns):
        if engine.value(f"SELECT bool_and(ends_with({column}, '.0')) FROM {table}") and engine.value(
            f"SELECT bool_and(regexp_full_match({column}, '-?[0-9]+\\.0')) FROM {table}"
        ):
            engine.run(f"UPDATE {table} SET {column} = regexp_replace({column}, '\\.0$', '')")


def catalogue_of_interactions(engine: Engine) -> None:
    """Make an items table from the items that occur, without titles."""
    engine.run(
        f"CREATE OR REPLACE TABLE {ITEMS} AS SELECT min(line) AS line, item_id, CAST(NULL AS VARCHAR) AS title "
        f"FROM {INTERACTIONS} GROUP BY item_id"
    )


def compare_ids(engine: Engine, path: Path) -> list[Remark]:
    """Compare the items of the interactions with those of the items table.

    Returns:
        How many have no record, with an example of an id from each side, and how many have no title.

    Raises:
        UserError: no item has a record, or ids differ only in spelling.
    """
    engine.run(f"CREATE OR REPLACE TEMP TABLE _used AS SELECT DISTINCT item_id FROM {INTERACTIONS}")
    engine.run(f"CREATE OR REPLACE TEMP TABLE _lost AS SELECT * FROM _used ANTI JOIN {ITEMS} USING (item_id)")
    used, lost = engine.count("_used"), engine.count("_lost")
    untitled = engine.value(f"SELECT count(*) FROM {ITEMS} WHERE title IS NULL")
    remarks = [Remark("items whose title is empty", untitled)]
    if not lost:
        return remarks
    spare = f"(SELECT item_id FROM {ITEMS} ANTI JOIN _used USING (item_id))"
    pair = engine.rows(
        f"SELECT l.item_id, s.item_id, count(*) OVER () FROM (SELECT *, {PLAIN} AS plain FROM _lost) l "
        f"JOIN (SELECT *, {PLAIN} AS plain FROM {spare}) s USING (plain) ORDER BY l.item_id LIMIT 1"
    )
    if pair:
        here, there, count = pair[0]
        raise UserError(
            f"{path}: {count:,} of {counted(used, 'item')} spelled otherwise than in the interactions, which have "
            f"{here!r} where the items have {there!r}: write them alike in both files"
        )
    here = engine.value("SELECT min(item_id) FROM _lost")
    there = engine.value(f"SELECT min(item_id) FROM {spare}")
    example = f"such as {here!r}" + (f"; it has {there!r}, which has no interaction" if there else "")
    if lost == used:
        raise UserError(
            f"{path}: has none of the interactions' {counted(used, 'item')} ({example}): correct data.items or the "
            "columns, data.columns.item_id and data.item_columns.item_id, or leave data.items out"
        )
    return [
        Remark(f"items of the interactions that the items table does not have ({example}): no title", lost),
        *remarks,
    ]
