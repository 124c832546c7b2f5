"""The end of a run: its record becomes metrics.json, table.md and the tables on the terminal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recsys_lora.report.metrics_json import write_metrics
from recsys_lora.report.screen import on_terminal
from recsys_lora.report.table import markdown, notes
from recsys_lora.utils.console import console, say
from recsys_lora.utils.files import write_text

_METRICS_FILE, _TABLE_FILE = "metrics.json", "table.md"


def publish(record: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Write metrics.json and table.md into the run folder and print the tables.

    Returns:
        What metrics.json holds.
    """
    metrics = write_metrics(folder / _METRICS_FILE, record)
    tasks, draws, title = metrics["tasks"], metrics["draws"], f"{metrics['name']}, test of {metrics['data']}"
    write_text(folder / _TABLE_FILE, markdown(tasks, draws, title))
    screen = console()
    for table in on_terminal(tasks, title, screen.width):
        screen.print(table)
    say(*notes(tasks, draws))
    return metrics
