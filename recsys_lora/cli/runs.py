"""`recsys-lora runs [FOLDER]`: list the runs in a folder, newest first."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recsys_lora.cli.user_errors import exit_on_user_error
from recsys_lora.utils.errors import UserError

RUNS = Path("runs")
STOPPED, UNTESTED, UNREADABLE = "stopped", "not tested", "unreadable"
HEADS = ("changed", "status", "model", "data", "AUC", "seconds", "run")
NUMBERS = ("AUC", "seconds")


@dataclass(frozen=True)
class Listed:
    """An entry of the list: one run.

    Attributes:
        folder: its folder.
        changed: time of its last status change, in seconds since 1970.
        status: finished, running, stopped (its process ended early) or failed; not tested or unreadable if unknown.
        model: the method and its encoder; None if unknown, as below.
        data: the data set.
        auc: AUC of the method on all click-through questions.
        seconds: wall time of all stages.
        error: why it failed or cannot be read.
    """

    folder: Path
    changed: float
    status: str
    model: str | None = None
    data: str | None = None
    auc: float | None = None
    seconds: float | None = None
    error: str | None = None


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    made = argparse.ArgumentParser(
        prog="recsys-lora runs", description="List the runs in a folder, jobs of sweeps too, newest first."
    )
    made.add_argument("folder", nargs="?", type=Path, default=RUNS, metavar="FOLDER", help="a folder of runs (runs)")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exit status: 0 success; 2 user error, with one line on standard error."""
    with exit_on_user_error():
        asked = parser().parse_args(arguments)
        from recsys_lora.utils.console import say

        say(*lines(listed(asked.folder)))


def listed(folder: Path) -> list[Listed]:
    """Return the runs in a folder, newest first.

    Raises:
        UserError: the folder does not exist, or contains no run.
    """
    from recsys_lora.report.runs import find_runs

    return sorted(map(_listed, find_runs([folder])), key=lambda run: run.changed, reverse=True)


def lines(runs: Sequence[Listed]) -> list[str]:
    """Return the list as text in columns, the folder last; a line below a failed run has the reason."""
    rows = [HEADS, *map(_cells, runs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    written = []
    for row, run in zip(rows, [None, *runs], strict=True):
        cells = [
            cell.rjust(width) if head in NUMBERS else cell.ljust(width)
            for head, cell, width in zip(HEADS[:-1], row, widths, strict=False)
        ]
        written.append("  ".join([*cells, row[-1]]))
        if run is not None and run.error:
            written.append(f"    {run.error}")
    return written


def _cells(run: Listed) -> tuple[str, ...]:
    from datetime import datetime

    from recsys_lora.report.table import DASH, number

    changed = datetime.fromtimestamp(run.changed).astimezone().strftime("%m-%d %H:%M")
    auc = DASH if run.auc is None else number(run.auc)
    seconds = DASH if run.seconds is None else f"{run.seconds:,.0f}"
    return changed, run.status, run.model or DASH, run.data or DASH, auc, seconds, str(run.folder)


def _listed(folder: Path) -> Listed:
    """Read one run, even if files are missing from its folder."""
    from recsys_lora.cli.folders import is_held
    from recsys_lora.cli.status import RUNNING, STATUS, read_status

    found = read_status(folder)
    path = folder / STATUS
    changed = (path if path.is_file() else folder).stat().st_mtime
    state: str = found.status if found else UNTESTED
    if state == RUNNING and not is_held(folder):
        state = STOPPED
    run = Listed(folder, changed, state, error=found.error if found else None)
    return _measured(run) if (folder / "metrics.json").is_file() else _planned(run)


def _measured(run: Listed) -> Listed:
    from dataclasses import replace

    from recsys_lora.cli.status import FINISHED
    from recsys_lora.report.metrics_json import read_metrics
    from recsys_lora.report.published import row_name
    from recsys_lora.report.table import method_line

    try:
        metrics = read_metrics(run.folder / "metrics.json")
    except UserError as error:
        return replace(run, status=UNREADABLE, error=str(error))
    ctr = metrics["tasks"].get("ctr")
    auc = next(iter(method_line(ctr)["metrics"].values()), None) if ctr else None  # auc, or auc_neg4
    return replace(
        run,
        status=FINISHED if run.status == UNTESTED else run.status,
        model=row_name(metrics["model"], metrics["cf"]),
        data=metrics["data"],
        auc=auc["value"] if auc else None,
        seconds=sum(metrics["seconds"].values()),
    )


def _planned(run: Listed) -> Listed:
    """Fill in the model and data of a run without results from its config."""
    from dataclasses import replace

    from recsys_lora.config.recorded import read_recorded

    found = [path for name in ("config.yaml", ".hydra/config.yaml") if (path := run.folder / name).is_file()]
    if not found:
        return run
    try:
        config = read_recorded(found[0])
    except UserError as error:
        return replace(run, status=UNREADABLE, error=str(error))
    model, data = (_name(config.get(group)) for group in ("model", "data"))
    return replace(run, model=model, data=data)


def _name(node: object) -> str | None:
    return str(node["name"]) if isinstance(node, dict) and node.get("name") is not None else None
