"""Tables on a terminal: columns that do not fit beside the others stand in a table below, beside the same names."""

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

FRAME = 3
"""Characters of a column beside its text: a space on both sides and a line; the table's own first line is one more."""
NAME_SHARE = 0.45
"""Of the width, what the names may take before they are broken."""


def fitted(
    title: str, heads: Sequence[str], cells: Sequence[Sequence[str]], width: int, bold: Sequence[bool] = ()
) -> Group:
    """Return a table, or several below each other, in which every value can be read.

    Args:
        title: above all of them.
        heads: of the columns; the first is that of the names, which each table begins with.
        cells: the rows; a cell may have several lines, and is broken between words where it is wider than the screen.
        width: of the screen, in characters.
        bold: which rows are set off; none by default.
    """
    columns = list(zip(heads, *cells, strict=True))
    names = min(_width(columns[0]), int(NAME_SHARE * width))
    room = width - names - FRAME - 1
    widths = [min(_width(column), room - FRAME) for column in columns[1:]]
    tables = [_table(columns, [names, *widths], part, bold) for part in _parts(widths, room)]
    return Group(Text(title), *tables)


def _width(column: Sequence[str]) -> int:
    """Return what a column needs: its longest line, and the longest word of its head."""
    head, *cells = column
    lines = [line for cell in cells for line in cell.split("\n")]
    return max((cell_len(text) for text in [*head.split(), *lines]), default=1) or 1


def _parts(widths: Sequence[int], room: int) -> Iterator[list[int]]:
    """Yield the places, after the names, of the columns of each table."""
    part: list[int] = []
    left = room
    for place, width in enumerate(widths, start=1):
        if part and width + FRAME > left:
            yield part
            part, left = [], room
        part.append(place)
        left -= width + FRAME
    yield part


def _table(columns: Sequence[Sequence[str]], widths: Sequence[int], part: Sequence[int], bold: Sequence[bool]) -> Table:
    made = Table()
    for place in (0, *part):
        justify = "right" if place else "left"
        made.add_column(Text(columns[place][0]), justify=justify, width=widths[place], overflow="fold")  # type: ignore[arg-type]
    for row in range(1, len(columns[0])):
        style = "bold" if bold and bold[row - 1] else ""
        made.add_row(*(Text(columns[place][row]) for place in (0, *part)), style=style)
    return made
