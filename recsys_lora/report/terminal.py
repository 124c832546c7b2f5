"""Tables on a terminal: columns that do not fit go into a further table below, with the same names."""

from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

_FRAME = 3
"""Characters of a column besides its text: a space on both sides and a line; the table's left border is one more."""
_NAME_SHARE = 0.45
"""Maximum fraction of the width for the names, before they are wrapped."""
_NARROW_NAMES = 20
"""Minimum width of wrapped names, in characters; they are wrapped if fewer tables are needed then."""


def fitted(
    title: str, heads: Sequence[str], cells: Sequence[Sequence[str]], width: int, bold: Sequence[bool] = ()
) -> Group:
    """Return a table, or several below each other, in which every value can be read.

    Args:
        title: title above all of them.
        heads: column headings; the first is for the names, with which each table begins.
        cells: the rows; a cell may have several lines, and is wrapped between words if wider than the screen.
        width: screen width, in characters.
        bold: which rows are bold; none by default.
    """
    columns = list(zip(heads, *cells, strict=True))
    names, widths, parts = _layout(columns, width)
    room = _room(width, names)
    tables = []
    for part in parts:
        own = _widened(part, widths, columns, room)
        tables.append(_table(columns, {0: names, **own}, bold))
    return Group(Text(title), *tables)


def tables_needed(heads: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> int:
    """Return the number of tables that `fitted` makes of the same columns."""
    return len(_layout(list(zip(heads, *cells, strict=True)), width)[2])


def _layout(columns: Sequence[Sequence[str]], width: int) -> tuple[int, list[int], list[list[int]]]:
    """Return the width of the names, the widths of the columns, and the indices of each table's columns."""
    longest = min(_width(columns[0]), int(_NAME_SHARE * width))
    layouts = []
    for names in (longest, min(longest, _NARROW_NAMES)):
        room = _room(width, names)
        widths = [min(_width(column), room - _FRAME) for column in columns[1:]]
        layouts.append((names, widths, _parts(widths, room)))
    names, widths, parts = min(layouts, key=lambda layout: len(layout[2]))
    spare = min(_room(width, names) - sum(widths[place - 1] + _FRAME for place in part) for part in parts)
    return min(longest, names + spare), widths, parts


def _room(width: int, names: int) -> int:
    return width - names - _FRAME - 1


def _width(column: Sequence[str]) -> int:
    """Return the width that a column needs: for its longest line, and the longest word of its heading."""
    head, *cells = column
    lines = [line for cell in cells for line in cell.split("\n")]
    return max((cell_len(text) for text in [*head.split(), *lines]), default=1) or 1


def _parts(widths: Sequence[int], room: int) -> list[list[int]]:
    """Return the indices, after the names, of each table's columns: as few tables as possible, of similar widths."""
    fewest = len(_filled(widths, room))
    narrowest = max((width + _FRAME for width in widths), default=room)
    return next(parts for limit in range(narrowest, room + 1) if len(parts := _filled(widths, limit)) == fewest)


def _filled(widths: Sequence[int], room: int) -> list[list[int]]:
    """Return the indices of each table's columns, filling each table as far as possible."""
    parts: list[list[int]] = [[]]
    left = room
    for place, width in enumerate(widths, start=1):
        if parts[-1] and width + _FRAME > left:
            parts.append([])
            left = room
        parts[-1].append(place)
        left -= width + _FRAME
    return parts


def _widened(part: Sequence[int], widths: Sequence[int], columns: Sequence[Sequence[str]], room: int) -> dict[int, int]:
    """Return the widths of a table's columns, widened where the lines of their headings then fit unwrapped."""
    own = {place: widths[place - 1] for place in part}
    left = room - sum(width + _FRAME for width in own.values())
    for place in part:
        wanted = max(map(cell_len, columns[place][0].split("\n"))) - own[place]
        if 0 < wanted <= left:
            own[place] += wanted
            left -= wanted
    return own


def _table(columns: Sequence[Sequence[str]], widths: Mapping[int, int], bold: Sequence[bool]) -> Table:
    made = Table()
    for place, width in widths.items():
        head = Text(columns[place][0])
        made.add_column(head, justify="right" if place else "left", width=width, overflow="fold")
    for row in range(1, len(columns[0])):
        style = "bold" if bold and bold[row - 1] else ""
        made.add_row(*(Text(columns[place][row]) for place in widths), style=style)
    return made
