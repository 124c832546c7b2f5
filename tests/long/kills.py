"""Commands of all kinds killed at random moments of their time: the same command comes to the same numbers."""

import random
import signal
from pathlib import Path

from tests.jobs import own_tables, with_reviews, write_tables
from tests.long.commands import COMMANDS, Command, timed
from tests.long.counts import Counts

KILLS = 100
EACH = 4
"""Kills of one command before it may finish."""
NUMBERS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
LEFT = {signal.SIGKILL: (-9,), signal.SIGTERM: (143, -15), signal.SIGINT: (130, -2)}
"""Exit statuses; the negative ones before Python has begun to listen, and after the run has ended."""


def run(place: Path, share: float, seed: int, counts: Counts) -> None:
    """Kill `KILLS` times, spread over the commands; every so often let the command finish and compare."""
    interactions, items = own_tables(30, 30)
    tables = write_tables(place / "tables", with_reviews(interactions), items)
    random_ = random.Random(seed)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # children of a background job would ignore it
    rounds = max(1, round(KILLS * share / EACH))
    for number in range(rounds):
        name = list(COMMANDS)[number % len(COMMANDS)]
        whole = Command(place / f"whole{number}", [*COMMANDS[name], *tables])
        seconds = timed(whole)
        own = Command(place / f"own{number}", [*COMMANDS[name], *tables])
        for _ in range(EACH):
            sent = random_.choice(NUMBERS)
            status = own.end(sent, random_.uniform(0.0, seconds))
            if status is not None and status not in LEFT[sent]:
                counts.broke(name, f"exit status {status} after {sent.name}: {own.said()[-300:]}")
            elif "Traceback" in own.said() and "KeyboardInterrupt" not in own.said():
                counts.broke(name, f"a traceback after {sent.name}: {own.said()[-300:]}")
            else:
                counts.add(name, "had ended" if status is None else sent.name)
        if own.finish():
            counts.broke(name, f"does not go on: {own.said()[-300:]}")
        elif own.results()[-len(whole.results()) :] != whole.results():
            counts.broke(name, "comes to other numbers")
        elif left := own.left():
            counts.broke(name, f"leaves {left}")
        else:
            counts.add(name, "went on to the same numbers")
