"""Full disks, limits, a clock that goes back, workers that are killed: one line, and the same command goes on."""

import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.jobs import own_tables, write_tables
from tests.long.commands import CORA, Command, timed
from tests.long.counts import Counts

MEGABYTE = 1 << 20
SIZES = (1, 2, 3, 5, 8, 12)
"""Megabytes of the disk, or of a file: from too few for the first stage to enough for all but the last."""
OPEN_FILES = (32, 64, 128)
MEMORY = (1500, 2500, 3500)
WORKER_KILLS = 10


def run(place: Path, share: float, seed: int, counts: Counts) -> None:
    """Run one command under every fault, and then without it, to the numbers of the run that never met one."""
    tables = write_tables(place / "tables", *own_tables())
    line = [*CORA, *tables]
    whole = Command(place / "whole", line)
    seconds = timed(whole)
    step = max(1, round(1 / share))  # of each kind's sizes every so many-th

    def tried(kind: str, number: int, before: Callable[[], None] | None, full: Path | None = None) -> None:
        own = Command(place / f"{kind} {number}".replace(" ", "_"), line)
        variables = {} if full is None else {"RECSYS_LORA_HOME": str(full)}
        judged(kind, own, own.finish(before, **variables), whole, counts)

    for size in SIZES[::step]:
        with_disk(place / f"disk{size}", size, lambda disk, size=size: tried("a full disk", size, None, disk), counts)
        tried("a limit of file size", size, limited(resource.RLIMIT_FSIZE, size * MEGABYTE))
    for most in OPEN_FILES[::step]:
        tried("a limit of open files", most, limited(resource.RLIMIT_NOFILE, most))
    for most in MEMORY[::step]:
        tried("a limit of memory", most, limited(resource.RLIMIT_AS, most * MEGABYTE))
    clock(place, line, whole, counts)
    workers(place, tables, max(1, round(WORKER_KILLS * share)), seconds, random.Random(seed), counts)


def limited(kind: int, most: int) -> Callable[[], None]:
    """Return what limits a new process."""
    return lambda: resource.setrlimit(kind, (most, most))


def judged(kind: str, own: Command, status: int, whole: Command, counts: Counts) -> None:
    """Count how a command ended under a fault, and how it goes on without it."""
    said = own.said()
    if status == 0:
        counts.add(kind, "finished")
    elif status == 2 and "Traceback" not in said:
        counts.add(kind, "one line")
    elif "MemoryError" in said or "memory" in said or status < 0:
        counts.add(kind, "the system's own word")  # nothing of ours can be done without memory or files
    else:
        counts.broke(kind, f"exit status {status}: {said[-300:]}")
    if own.finish() or own.results() != whole.results():
        counts.broke(kind, f"does not go on to the same numbers: {own.said()[-300:]}")


def with_disk(place: Path, megabytes: int, use: Callable[[Path], None], counts: Counts) -> None:
    """Use a disk of a size, where this process may mount one."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        counts.add("a full disk", "no disk could be mounted")
        return
    try:
        use(place)
    finally:
        subprocess.run(["umount", str(place)], check=False)


def clock(place: Path, line: list[str], whole: Command, counts: Counts) -> None:
    """Stop a run, let all that it left be of tomorrow, and go on: the clock has been set back."""
    own = Command(place / "clock", line)
    own.end(signal.SIGKILL, 20)
    tomorrow = time.time() + 86_400
    for path in own.place.rglob("*"):
        os.utime(path, (tomorrow, tomorrow))
    judged("a clock that goes back", own, own.finish(), whole, counts)


def workers(
    place: Path, tables: tuple[str, ...], kills: int, seconds: float, random_: random.Random, counts: Counts
) -> None:
    """Kill the second process of a job at random moments: the first ends with a line, at once."""
    line = [*CORA, *tables, "trainer=ddp_sim"]
    whole = Command(place / "whole_pair", line)
    timed(whole)
    for number in range(kills):
        own = Command(place / f"pair{number}", line)
        first = own.start()
        worker, begun = None, time.monotonic()
        while worker is None and first.poll() is None and time.monotonic() - begun < 120:
            worker = child(first.pid)
            time.sleep(0.05)
        time.sleep(random_.uniform(0, seconds / 2))
        if worker is None or first.poll() is not None:
            counts.add("a killed worker", "had ended")
            continue
        os.kill(worker, signal.SIGKILL)
        try:
            status = first.wait(timeout=60)
        except subprocess.TimeoutExpired:
            first.kill()
            counts.broke("a killed worker", f"the first waits on: {own.said()[-300:]}")
            continue
        judged("a killed worker", own, status, whole, counts)


def child(parent: int) -> int | None:
    """Return a process that was started as a worker of another."""
    listed = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(parent)], capture_output=True, text=True, check=False
    )
    found = [line.split()[0] for line in listed.stdout.splitlines() if "recsys_lora.pipeline.worker" in line]
    return int(found[0]) if found else None
