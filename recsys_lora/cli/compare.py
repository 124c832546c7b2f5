"""`recsys-lora compare RUNS...`: a table of finished runs with paired tests, in several formats, and its record."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from recsys_lora.cli.user_errors import exit_on_user_error


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    made = argparse.ArgumentParser(
        prog="recsys-lora compare",
        description="Compare finished runs: one row a configuration, its seeds together, all tested on the same rows.",
    )
    made.add_argument("runs", nargs="*", type=Path, metavar="RUNS", help="run folders, or folders that hold runs")
    made.add_argument("--csv", type=Path, metavar="FILE", help="write every number, one line a row")
    made.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables as Markdown")
    made.add_argument("--latex", type=Path, metavar="FILE", help="write the tables for LaTeX (booktabs)")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the record, from which --page makes tables")
    made.add_argument(
        "--baseline",
        metavar="NAME",
        help="compare every other row with this one (its label, or a run folder of it), with tests over users",
    )
    made.add_argument(
        "--trust", metavar="PACKAGES", help="packages of your own whose tasks runs may name, separated by commas"
    )
    made.add_argument("--draws", type=whole_number, default=1000, metavar="N", help="bootstrap draws over users (1000)")
    made.add_argument(
        "--warm", choices=("seen", "count", "notebook"), default="seen", help="the definition of warm rows (seen)"
    )
    made.add_argument(
        "--page",
        type=Path,
        action="append",
        default=[],
        metavar="PAGE",
        help="rewrite the tables of a Markdown page from their records; may be repeated, needs no RUNS",
    )
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exit status: 0 success; 2 user error, with one line on standard error."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    understood = parser()
    with exit_on_user_error():
        asked = understood.parse_args(given)
        if not asked.runs and not asked.page:
            understood.error("give run folders, or --page with a page to rewrite")
        _do(asked, given)


def _do(asked: argparse.Namespace, given: Sequence[str]) -> None:
    from functools import partial

    from recsys_lora.config.trust import packages
    from recsys_lora.pipeline.built_tasks import task_of
    from recsys_lora.report import comparison_cells, comparison_table
    from recsys_lora.report.comparison import compare
    from recsys_lora.report.page import rewrite
    from recsys_lora.report.provenance import command_line
    from recsys_lora.utils.console import console, say
    from recsys_lora.utils.files import write_json, write_text

    screen = console()
    if asked.runs:
        command = command_line("compare", given)
        tasks = partial(task_of, trust=packages(asked.trust))
        made = compare(asked.runs, command, tasks, asked.baseline, asked.draws, asked.warm)
        for table in comparison_table.on_terminal(made, screen.width):
            screen.print(table)
        say(*comparison_cells.notes(made))
        forms = (
            (asked.csv, comparison_table.as_csv),
            (asked.markdown, comparison_table.markdown),
            (asked.latex, comparison_table.latex),
        )
        for path, form in forms:
            if path is not None:
                write_text(path, form(made))
        if asked.json is not None:
            write_json(asked.json, made.as_json())
    for page in asked.page:  # after the record, which the page may use
        say(f"{page}: tables rewritten: {rewrite(page)}")


def whole_number(text: str) -> int:
    """Parse a number of draws.

    Raises:
        ValueError: it is not an integer.
        argparse.ArgumentTypeError: it is negative.
    """
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("a number of draws, 0 or more")
    return number
