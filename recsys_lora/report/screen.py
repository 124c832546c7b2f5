"""Output at the end of a run: its record as metrics.json, as table.md and as tables on the terminal."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from recsys_lora.report.metrics_json import write_metrics
from recsys_lora.report.table import Block, compared, grids, markdown, method_line, notes
from recsys_lora.report.terminal import fitted, tables_needed
from recsys_lora.utils.console import console, say
from recsys_lora.utils.files import write_text

_METRICS_FILE, _TABLE_FILE = "metrics.json", "table.md"


def publish(record: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Write metrics.json and table.md into the run folder and print the tables.

    Returns:
        The content of metrics.json.
    """
    metrics = write_metrics(folder / _METRICS_FILE, record)
    tasks, draws, title = metrics["tasks"], metrics["draws"], f"{metrics['name']}, test of {metrics['data']}"
    write_text(folder / _TABLE_FILE, markdown(tasks, draws, title))
    screen = console()
    for table in on_terminal(tasks, title, screen.width):
        screen.print(table)
    say(*notes(tasks, draws))
    return metrics


def on_terminal(tasks: Mapping[str, Block], title: str, width: int) -> Iterator[RenderableType]:
    """Yield each task's tables for a screen `width` characters wide: metrics, and the method minus every other line.

    Only the main metrics have intervals; warm and cold are shown if there are both; table.md has everything.
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
    """Return a table, with cells broken before their intervals if that reduces the number of stacked tables.

    Args:
        title: title above it.
        heads: column headings; text in parentheses goes on the next line.
        cells: the rows; the first cell is the name.
        width: screen width, in characters.
        bold: which rows are bold; none by default.
    """
    heads = [head.replace(" (", "\n(") for head in heads]
    broken = [[name, *(cell.replace(" [", "\n[").replace(" ±", "\n±") for cell in row)] for name, *row in cells]
    in_one_line = tables_needed(heads, cells, width) == tables_needed(heads, broken, width)
    return fitted(title, heads, cells if in_one_line else broken, width, bold)
