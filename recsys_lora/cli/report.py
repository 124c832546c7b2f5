"""`recsys-lora report RUNS...`: write report.html for one run, or for several side by side."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from recsys_lora.cli.user_errors import exit_on_user_error
from recsys_lora.utils.errors import UserError


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    made = argparse.ArgumentParser(
        prog="recsys-lora report",
        description="Draw finished runs: one self-contained page, of one run in its folder, of several in a file.",
    )
    made.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help="run folders, or folders that hold runs")
    made.add_argument("--out", type=Path, metavar="FILE", help="the page (one run: report.html in its folder)")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exit status: 0 success; 2 user error, with one line on standard error."""
    with exit_on_user_error():
        _do(parser().parse_args(arguments))


def _do(asked: argparse.Namespace) -> None:
    from recsys_lora.report.runs import folder_name, read_finished
    from recsys_lora.report.visual.page import FILE, of_run, of_runs
    from recsys_lora.utils.console import say
    from recsys_lora.utils.files import write_text

    runs, unfinished = read_finished(asked.runs, typed=False)
    left_out = [folder_name(folder) for folder in unfinished]
    if len(runs) == 1:
        target, page = asked.out or runs[0].folder / FILE, of_run(runs[0])
        if asked.out is None and not os.access(runs[0].folder, os.W_OK):
            raise UserError(f"{target}: nothing can be written into the run's folder: name another file, --out FILE")
    else:
        target, page = asked.out or Path(FILE), of_runs(runs, left_out)
    write_text(target, page)
    if left_out:
        say(f"left out, without results: {', '.join(left_out)}")
    say(f"{target}: {len(page.encode()) / 1000:.0f} kB")
