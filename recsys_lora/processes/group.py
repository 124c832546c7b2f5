"""The processes of one job. All run the same stages; only rank 0 fetches, prepares, fits the encoder and writes.

Training splits each batch among them, scoring each set of rows. A job on several devices starts the other processes
itself: they get its resolved config, not its command line, so a job of a sweep is like any other. If torchrun or SLURM
has started a process for every device, its rendezvous is used.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import distributed

from recsys_lora.processes.launched import last_line, module_command, share_of_cores, started_externally
from recsys_lora.processes.rendezvous import external_rendezvous, local_rendezvous, ranks, rendezvous
from recsys_lora.processes.watch import watched
from recsys_lora.utils.errors import UserError

T = TypeVar("T")
LOG, ARRIVED = "log.txt", "arrived"
POLL_SECONDS = 0.1
EXIT_SECONDS, FAILURE_SECONDS = 60, 10
"""How long the others may take to end after success, and to fail after this one has failed."""


@dataclass(frozen=True)
class ProcessGroup:
    """This process's place among those of the job.

    Attributes:
        rank: from 0.
        world_size: the number of processes.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def is_rank_zero(self) -> bool:
        """Whether this is the process that fetches and writes."""
        return self.rank == 0

    def broadcast(self, value: T) -> T:
        """Return rank 0's value in all processes."""
        if self.world_size == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, src=0)
        return values[0]

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.world_size > 1:
            distributed.barrier()


SINGLE = ProcessGroup()


def local_processes(trainer: Mapping[str, Any]) -> int:
    """Return how many processes a trainer's config asks for on this machine: one per device.

    Raises:
        UserError: it asks for several machines, which needs torchrun or SLURM, for more devices than there are, or
            for none.
    """
    if trainer["num_nodes"] != 1:
        raise UserError(
            f"trainer.num_nodes={trainer['num_nodes']}: start a process for every device of every machine with "
            "torchrun or SLURM, see docs/distributed.md"
        )
    devices, there = trainer["devices"], torch.cuda.device_count()
    if devices in (0, "0", "") or devices == []:
        raise UserError(f"trainer.devices={devices}: a run needs at least one: give 1 or more, or auto")
    if isinstance(devices, str) and "," in devices:
        devices = [index for index in devices.split(",") if index.strip()]
    if isinstance(devices, list):
        return len(devices)
    if isinstance(devices, int | str) and str(devices).isdigit():
        if trainer["accelerator"] in ("gpu", "cuda") and int(devices) > there:
            raise UserError(f"trainer.devices={devices}: PyTorch finds {there} CUDA devices: ask for no more than that")
        return int(devices)
    return max(1, there) if trainer["accelerator"] in ("gpu", "cuda", "auto") else 1


def planned_processes(trainer: Mapping[str, Any]) -> int:
    """Return how many processes the job will have, before they are connected.

    Raises:
        UserError: see `local_processes`.
    """
    return int(external_rendezvous()["WORLD_SIZE"]) if started_externally() else local_processes(trainer)


@contextlib.contextmanager
def process_group(trainer: Mapping[str, Any], folder: Path, worker: str) -> Iterator[ProcessGroup]:
    """Run a job's processes, including this one, for the duration of a block.

    Args:
        trainer: the config of the trainer.
        folder: the run's folder, with the `config.yaml` that the other processes read.
        worker: the module that the other processes run, with the folder as their argument; they call `arrive` and
            then `joined`.

    Raises:
        UserError: another process failed; the message names its log.
    """
    if started_externally():
        with joined(external_rendezvous()) as group:
            yield group
        return
    number = local_processes(trainer)
    if number == 1:
        yield SINGLE
        return
    meeting = local_rendezvous(number)
    workers: list[subprocess.Popen[bytes]] = []
    try:
        workers += [_started(rank, meeting, folder, worker) for rank in range(1, number)]
        _wait_for(workers, folder)
        with _threads(number), joined({**meeting, **ranks(0)}, lambda: _refuse_dead(workers, folder)) as group:
            try:
                with watched(lambda: _failed(workers, folder)):
                    yield group
            except UserError:
                raise
            except Exception as error:  # the others wait for this process, or one of them died and caused this
                _raise_for_failed(workers, folder, error)
                raise
        for rank, process in enumerate(workers, 1):
            if process.wait(timeout=EXIT_SECONDS):
                raise UserError(_lost(rank, process, folder))
            shutil.rmtree(worker_folder(folder, rank))
    finally:
        for process in workers:
            if process.poll() is None:
                process.kill()
                process.wait()
            assert process.stdin is not None
            process.stdin.close()


@contextlib.contextmanager
def joined(meeting: Mapping[str, str], meanwhile: Callable[[], None] = lambda: None) -> Iterator[ProcessGroup]:
    """Join the other processes at a rendezvous, and leave them at the end of the block.

    Args:
        meeting: see `rendezvous`.
        meanwhile: see `rendezvous`.
    """
    with rendezvous(meeting, meanwhile):
        yield ProcessGroup(distributed.get_rank(), distributed.get_world_size())


def arrive(folder: Path) -> None:
    """Tell rank 0 of the run in a folder that this process is about to join it.

    Rank 0 joins no sooner: an abandoned rendezvous is left behind in its process, where the next one would hang.
    """
    (worker_folder(folder, int(os.environ["RANK"])) / ARRIVED).touch()


def worker_folder(folder: Path, rank: int) -> Path:
    """Return the folder where a higher rank writes the files that rank 0 writes into the run's folder."""
    return folder / f"process{rank}"


def _started(rank: int, meeting: Mapping[str, str], folder: Path, worker: str) -> subprocess.Popen[bytes]:
    """Start another process of this job; it ends when this one closes its standard input, which is never written to."""
    place = worker_folder(folder, rank)
    place.mkdir(parents=True, exist_ok=True)
    (place / ARRIVED).unlink(missing_ok=True)
    threads = {"OMP_NUM_THREADS": str(share_of_cores(int(meeting["WORLD_SIZE"])))}
    variables = {**os.environ, **threads, **meeting, **ranks(rank)}
    with (place / LOG).open("wb") as log:
        command = [*module_command(worker), str(folder)]
        return subprocess.Popen(command, env=variables, stdin=subprocess.PIPE, stdout=log, stderr=log)


def _wait_for(workers: Sequence[subprocess.Popen[bytes]], folder: Path) -> None:
    """Wait until the other processes are about to join; raise a `UserError` if one has ended instead."""
    while not all((worker_folder(folder, rank) / ARRIVED).exists() for rank, _ in enumerate(workers, 1)):
        _refuse_dead(workers, folder)
        time.sleep(POLL_SECONDS)


def _refuse_dead(workers: Sequence[subprocess.Popen[bytes]], folder: Path) -> None:
    """Raise a `UserError` if another process has ended before the rendezvous."""
    for rank, process in enumerate(workers, 1):
        if process.poll() is not None:
            raise UserError(_lost(rank, process, folder))


def _failed(workers: Sequence[subprocess.Popen[bytes]], folder: Path) -> str | None:
    """Return the error message for another process that has failed, None if none has."""
    failed = ((rank, process) for rank, process in enumerate(workers, 1) if process.poll())
    return next((_lost(rank, process, folder) for rank, process in failed), None)


def _raise_for_failed(workers: Sequence[subprocess.Popen[bytes]], folder: Path, error: Exception) -> None:
    """Raise for another process whose failure caused `error`; wait a little for each of them to end."""
    for rank, process in enumerate(workers, 1):
        with contextlib.suppress(subprocess.TimeoutExpired):
            if process.wait(timeout=FAILURE_SECONDS):
                raise UserError(_lost(rank, process, folder)) from error


def _lost(rank: int, process: subprocess.Popen[bytes], folder: Path) -> str:
    """Return the error message for a process that has ended: which signal killed it, else the last line it printed."""
    log, status = worker_folder(folder, rank) / LOG, process.returncode
    if status >= 0:
        return f"process {rank} of the job failed ({last_line(log)}): see {log}"
    name = signal.Signals(-status).name if -status in {*signal.Signals} else f"signal {-status}"
    why = ", as the system does where memory runs out" if name == "SIGKILL" else ""
    return f"process {rank} of the job was ended by {name}{why}: see {log}"


@contextlib.contextmanager
def _threads(number: int) -> Iterator[None]:
    """Limit this process's threads to its share of the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, share_of_cores(number)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
