"""Signals that end a run. Each becomes one exception, so that all resources are released on the way out.

SIGINT and SIGTERM end it at once. So does the signal that SLURM sends before a job's time limit, but training first
saves a checkpoint. The job is then requeued, and the same command resumes.
"""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

REQUEUE: int = getattr(signal, "SIGUSR1", 0)
"""The signal that asks Lightning's SLURMEnvironment to requeue (`sbatch --signal=USR1@90`); 0: none here."""
INTERACTIVE = ("bash", "interactive")
SCONTROL_SECONDS = 60


class Stopped(BaseException):
    """A signal has ended the run; `except Exception` does not catch it.

    Attributes:
        number: the signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@dataclass
class _State:
    """How this process handles signals.

    Attributes:
        numbers: the signals that become `Stopped`; empty outside `stopping`.
        came: the last one that did; 0 for none.
        waits: whether a request to requeue waits for a checkpoint.
        asked: whether such a request has come.
    """

    numbers: tuple[int, ...] = ()
    came: int = 0
    waits: bool = False
    asked: bool = False


_state = _State()


@contextlib.contextmanager
def stopping() -> Iterator[None]:
    """Turn signals into `Stopped` in the main thread; signals that the parent process ignored stay ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    wanted = [signal.SIGINT, signal.SIGTERM, *([REQUEUE] if requeues() and REQUEUE else [])]
    before = {number: signal.getsignal(number) for number in wanted}
    _state.numbers = tuple(number for number in wanted if before[number] is not signal.SIG_IGN)
    _state.came = 0
    rearm()
    try:
        yield
    finally:
        for number in _state.numbers:
            signal.signal(number, before[number] or signal.SIG_DFL)
        _state.numbers = ()


def rearm() -> None:
    """Reinstall the handlers of `stopping`; outside it, do nothing.

    Lightning installs its own SIGTERM handler, which communicates with the other processes in the middle of whatever
    they are doing.
    """
    for number in _state.numbers:
        signal.signal(number, _stop)


def raise_lost() -> None:
    """Raise `Stopped` again if a signal came and a library swallowed it or turned it into another exception."""
    if _state.came:
        raise Stopped(_state.came)


@contextlib.contextmanager
def requeue_waits() -> Iterator[None]:
    """Defer requests to requeue within this block, which saves a checkpoint when `requeue_asked` becomes true."""
    _state.waits = True
    _state.asked = False
    try:
        yield
    finally:
        _state.waits = False


def requeue_asked() -> bool:
    """Return whether a request to requeue is waiting."""
    return _state.asked


def requeues() -> bool:
    """Return whether this is a SLURM job that may be requeued, by the rules of Lightning's SLURMEnvironment."""
    inside = "SLURM_JOB_ID" in os.environ and "SLURM_NTASKS" in os.environ
    return inside and os.environ.get("SLURM_JOB_NAME") not in INTERACTIVE


def requeue() -> str:
    """Ask SLURM to requeue this job; return a line that reports the outcome."""
    job = os.environ["SLURM_JOB_ID"]
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    command = ["scontrol", "requeue", job]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SCONTROL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{' '.join(command)}: {error}: submit the same command again, it goes on"
    if done.returncode:
        return f"{' '.join(command)}: {' '.join(done.stderr.split())}: submit the same command again, it goes on"
    return f"SLURM job {job} is queued again and goes on there"


def _stop(number: int, frame: FrameType | None) -> None:
    if number == REQUEUE and _state.waits:
        _state.asked = True
        return
    _state.came = number
    raise Stopped(number)
