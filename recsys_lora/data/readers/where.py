"""Selection of interactions from a table that holds several kinds of events."""

from collections.abc import Mapping, Sequence

from recsys_lora.data.engine import text
from recsys_lora.data.readers import columns as raw
from recsys_lora.data.readers.raw_table import RawTable
from recsys_lora.utils.errors import UserError

Values = str | int | Sequence[str | int]
Where = Mapping[str | int, Values]
"""The values that columns may have, by name or position."""


def listed(values: Values) -> list[str]:
    """Return one or several values as a list of texts."""
    return [str(value) for value in ([values] if isinstance(values, str | int) else values)]


def condition(table: RawTable, where: Where | None) -> tuple[str, str]:
    """Return SQL of the rows to keep, and in words why the others are not kept.

    Args:
        table: the raw table.
        where: values by column; None keeps all rows.

    Raises:
        UserError: there is no such column.
    """
    conditions, words = ["TRUE"], []
    for column, values in (where or {}).items():
        names = list(table.columns)
        found = names[column - 1] if isinstance(column, int) and 0 < column <= len(names) else str(column)
        if found not in table.columns:
            raise UserError(
                f"{table.path}: no column {found!r} (the file has: {', '.join(names)[:300]}): correct data.reader.where"
            )
        allowed = listed(values)
        conditions.append(f"coalesce({raw.words(table, found)} IN ({', '.join(map(text, allowed))}), FALSE)")
        words.append(f"column {column} has none of {', '.join(allowed)}")
    return " AND ".join(conditions), " or ".join(words)
