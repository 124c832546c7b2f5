"""Console output: sentences, and one progress display for every long step.

On a terminal, it is one line that is rewritten in place, with a bar if it fits; elsewhere (a log file, CI), a plain
line every few seconds.
"""

import contextlib
import logging
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from rich.console import Console

if TYPE_CHECKING:
    from rich.text import Text

Advance = Callable[[float, str], None]
"""Call with the amount done since the last call and a short note ("" for none), shown until the next call."""

SECONDS_BETWEEN_LINES = 10.0
BAR = 20
"""Width of a bar in characters."""


def console() -> Console:
    """Return a console on the current standard output, as wide as the terminal, as COLUMNS says, or 80 characters."""
    return Console(file=sys.stdout, highlight=False)


def say(*sentences: str) -> None:
    """Print sentences, one per line; on a terminal, they are wrapped between words, never within one."""
    screen = console()
    for sentence in sentences:
        lines = [sentence]
        if screen.is_terminal:
            lines = textwrap.wrap(sentence, screen.width, break_long_words=False, break_on_hyphens=False) or [""]
        for line in lines:
            screen.print(line, markup=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """Write seconds as `42s`, `3m05s` or `2h07m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


@dataclass
class _Step:
    """A step in progress: how much of what is done, and the note after the numbers; `total` is None if unknown."""

    description: str
    total: float | None
    unit: str
    done: float = 0.0
    note: str = ""
    begun: float = field(default_factory=lambda: time.monotonic())

    def line(self, now: float) -> str:
        """Say how much is done, how fast, and how long it will take or has taken."""
        elapsed = now - self.begun
        rate = self.done / elapsed if elapsed > 0 else 0.0
        done = _amount(self.done) + (f"/{_amount(self.total)}" if self.total else "")
        parts = [f"{self.description}: {done} {self.unit}"]
        if rate:
            parts.append(f"{rate:.0f}/s" if rate >= 1000 else f"{rate:.3g}/s")
        if self.total and rate and self.done < self.total:
            parts.append(f"{duration((self.total - self.done) / rate)} left")
        else:
            parts.append(duration(elapsed))
        return ", ".join(parts + ([self.note] if self.note else []))

    def drawn(self, now: float, width: int) -> "Text":
        """Return the line, after a bar if the amount of work is known and both fit into the width."""
        from rich.text import Text

        line = Text(self.line(now))
        if not self.total or line.cell_len + BAR + 1 > width:
            return line
        full = min(BAR, int(BAR * self.done / self.total))
        return Text.assemble(("━" * full, "cyan"), ("━" * (BAR - full), "dim"), " ", line)


def _amount(number: float) -> str:
    return f"{number:.0f}" if number >= 10 or number == round(number) else f"{number:.1f}"


@contextlib.contextmanager
def progress(description: str, total: float | None, unit: str = "rows", show: bool = True) -> Iterator[Advance]:
    """Show the progress of a step.

    Args:
        description: what is being done, a few words.
        total: the amount of work in `unit`; None if unknown.
        unit: what is counted, plural.
        show: False shows nothing (ranks other than the first of a distributed run).

    Yields:
        A function to call with the amount just done and a note.
    """
    if not show:
        yield no_display
        return
    with (_live if sys.stdout.isatty() else _lines)(_Step(description, total, unit)) as advance:
        yield advance


def no_display(done: float, note: str) -> None:
    """Show nothing."""


def part_of(advance: Advance, doing: str, total: int) -> Advance:
    """Return a function that notes the progress of a part on its step's display, without counting it.

    Args:
        advance: the step's.
        doing: what the part does, in a word.
        total: the amount of its work.
    """
    done_so_far = 0.0

    def noted(done: float, note: str) -> None:
        nonlocal done_so_far
        done_so_far += done
        advance(0, f"{doing} {done_so_far:.0f}/{total}")

    return noted


@contextlib.contextmanager
def _live(step: _Step) -> Iterator[Advance]:
    from rich.live import Live

    screen = console()

    def advance(done: float, note: str) -> None:
        step.done = step.done + done
        step.note = note

    below = sys.stdout
    with Live(console=screen, get_renderable=lambda: step.drawn(time.monotonic(), screen.width)), _logged_above(below):
        yield advance


@contextlib.contextmanager
def _logged_above(output: TextIO) -> Iterator[None]:
    """Print an output's log lines above the live line on it, by way of standard output."""
    handlers = [one for one in logging.getLogger().handlers if isinstance(one, logging.StreamHandler)]
    moved = [one for one in handlers if one.stream is output]
    for handler in moved:
        handler.setStream(sys.stdout)
    try:
        yield
    finally:
        for handler in moved:
            handler.setStream(output)


@contextlib.contextmanager
def _lines(step: _Step) -> Iterator[Advance]:
    out = sys.stdout
    last = step.begun

    def advance(done: float, note: str) -> None:
        nonlocal last
        step.done = step.done + done
        step.note = note
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            print(step.line(now), file=out, flush=True)

    yield advance
    print(step.line(time.monotonic()), file=out, flush=True)
