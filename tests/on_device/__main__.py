"""The command: runs the checks one after the other within some minutes and ends with one table."""

import argparse
import contextlib
import gc
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.table import Table
from rich.text import Text

from recsys_lora.utils.console import console
from tests.on_device.checks import KILLED, Check, every_check
from tests.on_device.kill import Resumed
from tests.on_device.place import TINY, Place, SkipError

OK, SKIPPED, FAILED = "ok", "skipped", "failed"
Line = tuple[str, str, float, str]
"""Of the table: name, result, seconds and what is worth saying."""


def main(arguments: Sequence[str] | None = None) -> list[Line]:
    """Run the command line; leaves with exit status 1 where a check failed, else returns the table's lines."""
    asked = parser().parse_args(arguments)
    begun = time.monotonic()
    device = asked.device or ("cuda" if torch.cuda.is_available() else "cpu")
    with contextlib.ExitStack() as stack:
        folder = asked.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="on_device_")))
        stack.enter_context(environment_kept())
        place = Place(folder.absolute(), device, asked.llm)
        place.enter()
        resumed, lines = stack.enter_context(Resumed(place)), list[Line]()
        checks = chosen(every_check(resumed), asked.only)
        if KILLED in checks:
            resumed.begin()
        for name, check in checks.items():
            over = time.monotonic() - begun > 60 * asked.minutes
            lines.append(late(name, asked.minutes) if over else one(name, check, place))
            console().print(f"{name}: {lines[-1][1]}, {lines[-1][2]:.1f} s", markup=False)
    console().print(table(lines, title(device, asked.llm, time.monotonic() - begun)))
    if any(result == FAILED for _, result, _, _ in lines):
        raise SystemExit(1)
    return lines


def parser() -> argparse.ArgumentParser:
    """Return what understands the command line."""
    made = argparse.ArgumentParser(prog="python -m tests.on_device", description=__doc__)
    made.add_argument("--device", choices=("cuda", "cpu"), help="where to run (a GPU where there is one)")
    made.add_argument("--llm", default=TINY, help="a group of conf/llm, or a backbone's folder or GGUF file (tiny)")
    made.add_argument("--minutes", type=float, default=4.0, help="after these no further check begins (4)")
    made.add_argument(
        "--only", action="append", default=[], metavar="TEXT", help="checks whose name has it; repeatable"
    )
    made.add_argument("--folder", type=Path, help="keep what the runs write there (a temporary folder)")
    return made


def chosen(checks: dict[str, Check], only: Sequence[str]) -> dict[str, Check]:
    """Return the checks that are asked for."""
    return {name: check for name, check in checks.items() if not only or any(part in name for part in only)}


def one(name: str, check: Check, place: Place) -> Line:
    """Run a check, what it prints in a file of its own; whatever ends it is its result."""
    begun = time.monotonic()
    said = place.folder / "said" / f"{name.replace('/', '_')}.txt"
    said.parent.mkdir(exist_ok=True)
    with said.open("w") as out, contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            result, detail = OK, check(place)
        except SkipError as reason:
            result, detail = SKIPPED, str(reason)
        except Exception as error:  # the other checks run all the same
            traceback.print_exc()
            result, detail = FAILED, f"{type(error).__name__}: {error}".splitlines()[0]
    gc.collect()  # a run's backbone, before the next one loads its own
    if place.device == "cuda":
        torch.cuda.empty_cache()
    return name, result, time.monotonic() - begun, detail


def late(name: str, minutes: float) -> Line:
    """Return the line of a check for which there is no time."""
    return name, SKIPPED, 0.0, f"the {minutes:g} minutes were over: give more with --minutes"


def title(device: str, llm: str, seconds: float) -> str:
    """Say what ran where."""
    name = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return f"{name}, torch {torch.__version__}, llm={llm}, {seconds:.0f} s"


def table(lines: Sequence[Line], name: str) -> Table:
    """Return the lines as Rich shows them, and how many of each result there are."""
    counts = ", ".join(f"{sum(line[1] == kind for line in lines)} {kind}" for kind in (OK, SKIPPED, FAILED))
    made = Table(title=Text(f"{name}: {counts}"), title_justify="left")
    for head in ("check", "result", "seconds", ""):
        made.add_column(head, justify="right" if head == "seconds" else "left", overflow="fold")
    for line in lines:
        made.add_row(*(Text(part) for part in (line[0], line[1], f"{line[2]:.1f}", line[3])))
    return made


@contextlib.contextmanager
def environment_kept():
    """Give the process its variables back, of which a check may change the cache's."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


if __name__ == "__main__":
    main(sys.argv[1:])
