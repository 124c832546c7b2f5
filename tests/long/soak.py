"""Many runs in one process: memory, open files and threads stay as they are."""

import contextlib
import gc
import io
import os
import resource
import threading
from pathlib import Path

import pytest

from tests.jobs import SMALL, own_tables, write_tables
from tests.jobs import run as run_job
from tests.long.counts import Counts

ROUNDS, FIRST = 60, 3
"""Runs, and after how many of them everything has been imported and compiled."""
GROWTH = 1.25
"""Of the memory that the process has ever held."""


def run(place: Path, share: float, seed: int, counts: Counts) -> None:
    """Train, test and load with ever new seeds."""
    tables = write_tables(place / "tables", *own_tables())
    rounds = max(FIRST + 2, round(ROUNDS * share))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSYS_LORA_HOME", str(place / "home"))
        for number in range(rounds):
            with contextlib.redirect_stdout(io.StringIO()):
                run_job(place / str(number), *SMALL, *tables, f"seed={seed + number}")
            gc.collect()
            if number == FIRST:
                memory, files, threads = held()
            counts.add("runs of cora in one process", "finished")
    for name, before, now in zip(("memory", "open files", "threads"), (memory, files, threads), held(), strict=True):
        kind = f"{name} after {FIRST} runs and after {rounds}: {before:,} and {now:,}"
        if now > before * GROWTH + 2:
            counts.broke(kind, "grows")
        else:
            counts.add(kind, "stays")


def held() -> tuple[int, int, int]:
    """Return the most memory ever held (kB), and open files and threads now."""
    files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the listing itself is open, as at every call
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, files, threading.active_count()
