"""Full disks, limits, a clock that goes back, workers that are killed: one line, and the same command goes on."""

import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from recsys_lora.cli.status import FAILED, read_status
from tests.jobs import own_tables, write_tables
from tests.long.commands import COMMANDS, CORA, Command, timed
from tests.long.counts import Counts

KILOBYTES = (8, 16, 32, 64, 128, 1024)
"""Of the disk, or of a file: from too few for the first stage to enough for all."""
OPEN_FILES = (12, 20, 32)
MEGABYTES = (800, 1500, 2500)
WORKER_KILLS = 10


def run(place: Path, share: float, seed: int, counts: Counts) -> None:
    """Run a command under every fault, and then without it, to the numbers of the run that never met one."""
    tables = write_tables(place / "tables", *own_tables())
    limits(place, tables, max(1, round(1 / share)), counts)
    whole = Command(place / "whole", [*CORA, *tables])
    seconds = timed(whole)
    clock(place, whole, counts)
    workers(place, tables, max(1, round(WORKER_KILLS * share)), seconds, random.Random(seed), counts)


def limits(place: Path, tables: tuple[str, ...], step: int, counts: Counts) -> None:
    """Fit and test a CF model on disks and under limits of all kinds, of each kind's sizes every so many-th."""
    whole = Command(place / "whole_limits", [*COMMANDS["mf alone"], *tables])
    timed(whole)

    def tried(kind: str, number: int, before: Callable[[], None] | None, full: Path | None = None) -> None:
        own = Command(place / f"{kind} {number}".replace(" ", "_"), whole.line[3:-1])
        variables = {} if full is None else {"RECSYS_LORA_HOME": str(full)}
        judged(kind, own, own.finish(before, **variables), whole, counts)

    for size in KILOBYTES[::step]:
        with_disk(place / f"disk{size}", size, lambda disk, size=size: tried("a full disk", size, None, disk), counts)
        tried("a limit of file size", size, limited(resource.RLIMIT_FSIZE, size * 1024))
    for most in OPEN_FILES[::step]:
        tried("a limit of open files", most, limited(resource.RLIMIT_NOFILE, most))
    for most in MEGABYTES[::step]:
        tried("a limit of memory", most, limited(resource.RLIMIT_AS, most << 20))


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
    elif "memory" in kind or "open files" in kind:
        counts.add(kind, "the system's own word")  # Python and torch cannot do without
    else:
        counts.broke(kind, f"exit status {status}: {said[-300:]}")
    if own.finish() or any(found != whole.results()[0] for found in own.results()):
        counts.broke(kind, f"does not go on to the same numbers: {own.said()[-300:]}")


def with_disk(place: Path, kilobytes: int, use: Callable[[Path], None], counts: Counts) -> None:
    """Use a disk of a size, where this process may mount one."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        counts.add("a full disk", "no disk could be mounted")
        return
    try:
        use(place)
    finally:
        subprocess.run(["umount", str(place)], check=False)


def clock(place: Path, whole: Command, counts: Counts) -> None:
    """Stop a run, let all that it left be of tomorrow, and go on: the clock has been set back."""
    own = Command(place / "clock", whole.line[3:-1])
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
    whole, waits = Command(place / "whole_pair", line), [0.0]
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
            first.kill()
            first.wait()
            counts.add("a killed worker", "had ended")
            continue
        os.kill(worker, signal.SIGKILL)
        killed = time.monotonic()
        try:
            status = first.wait(timeout=60)
        except subprocess.TimeoutExpired:
            first.kill()
            counts.broke("a killed worker", f"the first waits on: {own.said()[-300:]}")
            continue
        waits.append(time.monotonic() - killed)
        kept = [read_status(path.parent) for path in own.place.glob("runs/*/*/status.json")]
        if status and [found and found.status for found in kept] != [FAILED]:
            counts.broke("a killed worker", f"its run is kept as {kept}")
        judged("a killed worker", own, status, whole, counts)
    counts.add(f"the first waited at most {max(waits):.1f} s", "measured")


def child(parent: int) -> int | None:
    """Return a process that was started as a worker of another."""
    listed = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(parent)], capture_output=True, text=True, check=False
    )
    found = [line.split()[0] for line in listed.stdout.splitlines() if "recsys_lora.pipeline.worker" in line]
    return int(found[0]) if found else None
