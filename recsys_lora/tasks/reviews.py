"""Review texts of rows, made ready for questions and answers."""

from collections.abc import Sequence

from recsys_lora.data.prepared import PreparedData, Rows


def column(data: PreparedData, name: str) -> Sequence[str | None] | None:
    """Return a text column of all interactions, None where the data set has none or it is empty throughout."""
    if name not in data.text_columns:
        return None
    values = data.texts(name)
    return values if any(value and value.strip() for value in values) else None


def texts(data: PreparedData, rows: Rows, name: str, words: int) -> list[str]:
    """Return the first words of each row's text, on one line; "" where there is none.

    Args:
        data: the data set; it has the column.
        rows: which rows.
        name: `review` or `summary`.
        words: how many at most.
    """
    values = data.texts(name)
    return [" ".join((values[row] or "").split()[:words]) for row in rows.row.tolist()]
