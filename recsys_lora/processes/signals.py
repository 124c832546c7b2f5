"""Signals that end a run. Each becomes one exception, so that all resources are released on the way out.

SIGINT and SIGTERM end it at once. The signal that SLURM sends before a job's time is over ends it, too; in training it
first waits for a checkpoint. The job is then queued again, where the same command goes on.
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
"""What Lightning's SLURMEnvironment takes as a request to requeue: `sbatch --signal=USR1@90`; 0: none here."""
INTERACTIVE = ("bash", "interactive")
SCONTROL_SECONDS = 60


class Stopped(BaseException):
    """A signal has ended the run; no `except Exception` takes it for a failure.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@dataclass
class _State:
    """What this process does with signals.

    Attributes:
        numbers: the signals that become `Stopped`; empty outside `stopping`.
        came: the last one that did; 0 for none.
        waits: whether a request to requeue waits for a checkpoint.
        asked: whether one has come meanwhile.
    """

    numbers: tuple[int, ...] = ()
    came: int = 0
    waits: bool = False
    asked: bool = False


_state = _State()


@contextlib.contextmanager
def stopping() -> Iterator[None]:
    """Turn signals into `Stopped` in the main thread; what the parent process had set to be ignored stays ignored."""
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
    """Handle the signals of `stopping` again; outside it do nothing.

    Lightning puts a handler of its own over SIGTERM, which communicates with the other processes in the middle of
    whatever they are doing.
    """
    for number in _state.numbers:
        signal.signal(number, _stop)


def raise_lost() -> None:
    """Raise `Stopped` once more if a signal came and a library has swallowed it, or made another exception of it."""
    if _state.came:
        raise Stopped(_state.came)


@contextlib.contextmanager
def requeue_waits() -> Iterator[None]:
    """Let a request to requeue wait within this block, which saves a checkpoint when `requeue_asked` becomes true."""
    _state.waits = True
    _state.asked = False
    try:
        yield
    finally:
        _state.waits = False


def requeue_asked() -> bool:
    """Return whether a request to requeue has come and waits."""
    return _state.asked


def requeues() -> bool:
    """Return whether this is a SLURM job that may be requeued, by the rules of Lightning's SLURMEnvironment."""
    inside = "SLURM_JOB_ID" in os.environ and "SLURM_NTASKS" in os.environ
    return inside and os.environ.get("SLURM_JOB_NAME") not in INTERACTIVE


def requeue() -> str:
    """Ask SLURM to queue this job again; returns a line about it."""
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
