"""What a person sees: one console, and one progress display for every long step.

On a terminal a Rich bar with rate and time left; elsewhere (a log file, CI) a plain line every few seconds.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console

Advance = Callable[[float, str], None]
"""Call with the amount done since the last call and a short note ("" for none), shown behind the bar."""

SECONDS_BETWEEN_LINES = 10.0


def console() -> Console:
    """Return a console on the present standard output, wide enough for tables where there is no terminal."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120, highlight=False)


def duration(seconds: float) -> str:
    """Write seconds as `42s`, `3m05s` or `2h07m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


@contextlib.contextmanager
def progress(description: str, total: float | None, unit: str = "rows", show: bool = True) -> Iterator[Advance]:
    """Show how far a step is.

    Args:
        description: what is being done, a few words.
        total: the amount of work in `unit`; None where it is not known.
        unit: what is counted, plural.
        show: False shows nothing (other ranks than the first of a distributed run).

    Yields:
        A function to call with the amount just done and a note.
    """
    if not show:
        yield _nothing
    elif sys.stdout.isatty():
        with _bar(description, total, unit) as advance:
            yield advance
    else:
        with _lines(description, total, unit) as advance:
            yield advance


def _nothing(done: float, note: str) -> None:
    """Show nothing."""


@contextlib.contextmanager
def _bar(description: str, total: float | None, unit: str) -> Iterator[Advance]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} " + unit if total else "{task.completed:.0f} " + unit),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console()) as bar:
        task = bar.add_task(description, total=total, note="", rate="")

        def advance(done: float, note: str = "") -> None:
            state = bar.tasks[task]
            rate = f"{state.speed:.3g}/s" if state.speed else ""
            bar.update(task, advance=done, rate=rate, note=note or state.fields["note"])

        yield advance


@contextlib.contextmanager
def _lines(description: str, total: float | None, unit: str) -> Iterator[Advance]:
    out = sys.stdout
    start = last = time.monotonic()
    done_so_far = 0.0

    def line(now: float, note: str) -> str:
        elapsed = now - start
        rate = done_so_far / elapsed if elapsed > 0 else 0.0
        parts = [f"{description}: {done_so_far:.0f}" + (f"/{total:.0f}" if total else "") + f" {unit}"]
        if rate:
            parts.append(f"{rate:.3g}/s")
        if total and rate and done_so_far < total:
            parts.append(f"{duration((total - done_so_far) / rate)} left")
        else:
            parts.append(duration(elapsed))
        return ", ".join(parts + ([note] if note else []))

    latest = ""

    def advance(done: float, note: str = "") -> None:
        nonlocal done_so_far, last, latest
        done_so_far += done
        latest = note or latest
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            print(line(now, latest), file=out, flush=True)

    yield advance
    print(line(time.monotonic(), latest), file=out, flush=True)
