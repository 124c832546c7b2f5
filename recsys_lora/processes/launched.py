"""Who started this process, and its share of the cores: facts known before processes are connected."""

import os
import sys
from pathlib import Path


def started_externally() -> bool:
    """Return whether torchrun or SLURM has started this process as one of several."""
    return "LOCAL_RANK" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1


def is_rank_zero() -> bool:
    """Return whether this process writes the run folder: it is the only one, or rank 0 under torchrun or SLURM."""
    rank = os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or "0"
    return not started_externally() or int(rank) == 0


def module_command(module: str) -> list[str]:
    """Return the command line that runs a module in another process, with the same import path as this one.

    By default, `python -m` searches the working folder first, where a data set's torch.py may be; an installed command
    does not.
    """
    here = {"", str(Path.cwd())} & {*sys.path}
    return [sys.executable, *([] if here else ["-P"]), "-m", module]


def share_of_cores(processes: int) -> int:
    """Return how many threads each of several processes may use when they share those of this one.

    Their total is OMP_NUM_THREADS if it is set, else the number of cores this process may run on.
    """
    given = os.environ.get("OMP_NUM_THREADS", "")
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, (int(given) if given.isdigit() and int(given) else allowed) // processes)


def last_line(log: Path) -> str:
    """Return the last line that a process printed to its log."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it printed nothing"
