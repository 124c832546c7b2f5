"""A run's tables on the terminal: one line a row where the screen has room, values above their intervals elsewhere."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import RenderableType

from recsys_lora.report.table import Block, compared, grids, method_line
from recsys_lora.report.terminal import fitted, tables_needed


def on_terminal(tasks: Mapping[str, Block], title: str, width: int) -> Iterator[RenderableType]:
    """Yield each task's tables for a screen of so many characters: metrics, and the method minus every other line.

    Intervals are given for the main metrics, warm and cold questions where there are both; table.md has all.
    """
    for grid in grids(tasks, title, brief=True):
        yield readable(grid.title, grid.columns, grid.cells, width, grid.own)
    for name, block in tasks.items():
        grid = compared(name, block, brief=True)
        method = f"{method_line(block)['name']} "
        cells = [[line[0].removeprefix(method), *line[1:]] for line in grid.cells]
        if cells:
            yield readable(grid.title, [f"{name}: {method}", *grid.columns[1:]], cells, width)


def readable(
    title: str, heads: Sequence[str], cells: Sequence[Sequence[str]], width: int, bold: Sequence[bool] = ()
) -> RenderableType:
    """Return a table whose cells are broken at their intervals where fewer tables below each other are needed then.

    Args:
        title: above it.
        heads: of the columns; what stands in brackets is below the rest.
        cells: the rows; the first is the name.
        width: of the screen, in characters.
        bold: which rows are set off; none by default.
    """
    heads = [head.replace(" (", "\n(") for head in heads]
    broken = [[name, *(cell.replace(" [", "\n[").replace(" ±", "\n±") for cell in row)] for name, *row in cells]
    in_one_line = tables_needed(heads, cells, width) == tables_needed(heads, broken, width)
    return fitted(title, heads, cells if in_one_line else broken, width, bold)
