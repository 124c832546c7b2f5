"""The processes of one job. All run the same stages; the first alone fetches, prepares, fits the encoder and writes.

Training shares out each batch among them, scoring each set of rows. A job on several devices starts the others itself:
they get its resolved config, not its command line, so a job of a sweep is a job like any other. Where torchrun or SLURM
has started a process for every device, they meet as that says.
"""

import contextlib
import datetime
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import distributed

from recsys_lora.errors import UserError

T = TypeVar("T")
PATIENCE = datetime.timedelta(days=7)
"""How long a process waits for another: as long as the first may fetch, prepare and fit."""
VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK", "LOCAL_RANK", "NODE_RANK")
LOG = "log.txt"
SECONDS_TO_END, SECONDS_TO_FALL = 60, 10


@dataclass(frozen=True)
class Team:
    """This process's place among those of the job.

    Attributes:
        rank: from 0; the process of rank 0 leads.
        world: how many there are.
    """

    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that fetches and writes."""
        return self.rank == 0

    def told(self, value: T) -> T:
        """Return the first process's value, on all of them."""
        if self.world == 1:
            return value
        said = [value]
        distributed.broadcast_object_list(said, src=0)
        return said[0]

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.world > 1:
            distributed.barrier()


ALONE = Team()


def local_processes(trainer: Mapping[str, Any]) -> int:
    """Return how many processes a trainer's config asks for on this machine: one a device.

    Raises:
        UserError: it asks for several machines, which nobody has started a process on, or for more devices than there
            are.
    """
    if trainer["num_nodes"] != 1:
        raise UserError(
            f"trainer.num_nodes={trainer['num_nodes']}: start a process for every device of every machine with "
            "torchrun or SLURM, see docs/distributed.md"
        )
    devices, there = trainer["devices"], torch.cuda.device_count()
    if isinstance(devices, list):
        return len(devices)
    if isinstance(devices, int | str) and str(devices).isdigit():
        if trainer["accelerator"] in ("gpu", "cuda") and int(devices) > there:
            raise UserError(f"trainer.devices={devices}: PyTorch finds {there} CUDA devices: ask for no more than that")
        return int(devices)
    return max(1, there) if trainer["accelerator"] in ("gpu", "cuda", "auto") else 1


def planned_processes(trainer: Mapping[str, Any]) -> int:
    """Return how many processes the job will have, before they have met.

    Raises:
        UserError: as `local_processes`.
    """
    return int(dict(_met_elsewhere())["WORLD_SIZE"]) if _started_elsewhere() else local_processes(trainer)


@contextlib.contextmanager
def team(trainer: Mapping[str, Any], folder: Path) -> Iterator[Team]:
    """Be the processes that a job needs, this one among them, until the job has ended.

    Args:
        trainer: the config of the trainer.
        folder: the run's; holds its `config.yaml`, from which the other processes start.

    Raises:
        UserError: another process could not go on; the line names its log.
    """
    if _started_elsewhere():
        with joined(dict(_met_elsewhere())) as own:
            yield own
        return
    number = local_processes(trainer)
    if number == 1:
        yield ALONE
        return
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(number)}
    others = [_started(rank, meeting, folder, number) for rank in range(1, number)]
    try:
        with _threads(number), joined({**meeting, **_ranks(0)}) as own:
            try:
                yield own
            except UserError:
                raise
            except Exception as error:  # the others wait for this process, or one of them is gone and this is why
                _blame(others, folder, error)
                raise
        for rank, process in enumerate(others, 1):
            if process.wait(timeout=SECONDS_TO_END):
                raise UserError(_lost(rank, folder))
            shutil.rmtree(own_folder(folder, rank))
    finally:
        for process in others:
            if process.poll() is None:
                process.kill()
                process.wait()
            assert process.stdin is not None
            process.stdin.close()


@contextlib.contextmanager
def joined(meeting: Mapping[str, str]) -> Iterator[Team]:
    """Meet the other processes; the environment and `torch.distributed` are afterwards as before.

    Args:
        meeting: the variables of `torch.distributed`'s env:// rendezvous, and LOCAL_RANK.
    """
    before = {name: os.environ.get(name) for name in VARIABLES}
    os.environ |= meeting
    if torch.cuda.is_available():
        torch.cuda.set_device(int(meeting["LOCAL_RANK"]) % torch.cuda.device_count())
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Team(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def own_folder(folder: Path, rank: int) -> Path:
    """Return where a process of a higher rank writes what the first writes into the run's folder."""
    return folder / f"process{rank}"


def _ranks(rank: int) -> dict[str, str]:
    return {"RANK": str(rank), "LOCAL_RANK": str(rank), "NODE_RANK": "0"}


def _started(rank: int, meeting: Mapping[str, str], folder: Path, number: int) -> subprocess.Popen[bytes]:
    """Start another process of this job, which ends when this one does: its standard input is never written to."""
    place = own_folder(folder, rank)
    place.mkdir(parents=True, exist_ok=True)
    threads = {"OMP_NUM_THREADS": str(_share_of_cores(number))}
    variables = {**os.environ, **threads, **meeting, **_ranks(rank)}
    command = [sys.executable, "-m", "recsys_lora.pipeline.member", str(folder)]
    with (place / LOG).open("wb") as log:
        return subprocess.Popen(command, env=variables, stdin=subprocess.PIPE, stdout=log, stderr=log)


def _met_elsewhere() -> Iterator[tuple[str, str]]:
    """Yield the meeting that torchrun or SLURM has arranged."""
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    kinds = (TorchElasticEnvironment, SLURMEnvironment)
    place = next((kind() for kind in kinds if kind.detect()), None) or LightningEnvironment()
    yield "MASTER_ADDR", place.main_address
    yield "MASTER_PORT", str(place.main_port)
    yield "WORLD_SIZE", os.environ.get("WORLD_SIZE") or str(place.world_size())
    yield "RANK", os.environ.get("RANK") or str(place.global_rank())
    yield "LOCAL_RANK", str(place.local_rank())
    yield "NODE_RANK", str(place.node_rank())


def _started_elsewhere() -> bool:
    """Tell whether torchrun or SLURM has started this process as one of several."""
    return "LOCAL_RANK" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1


def is_first() -> bool:
    """Tell, before the processes have met, whether this one will lead."""
    return not _started_elsewhere() or int(dict(_met_elsewhere())["RANK"]) == 0


def _blame(others: Sequence[subprocess.Popen[bytes]], folder: Path, error: Exception) -> None:
    """Raise for a process that has ended badly, instead of `error`, which then is a consequence; wait a little for one.

    Raises:
        UserError: names its log and why it ended.
    """
    for rank, process in enumerate(others, 1):
        with contextlib.suppress(subprocess.TimeoutExpired):
            if process.wait(timeout=SECONDS_TO_FALL):
                raise UserError(_lost(rank, folder)) from error


def _lost(rank: int, folder: Path) -> str:
    log = own_folder(folder, rank) / LOG
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"process {rank} of the job failed ({lines[-1].strip() if lines else 'it said nothing'}): see {log}"


def _share_of_cores(number: int) -> int:
    given = os.environ.get("OMP_NUM_THREADS", "")
    cores = int(given) if given.isdigit() else os.cpu_count() or 1  # of several jobs at once, those of this one
    return max(1, cores // number)


@contextlib.contextmanager
def _threads(number: int) -> Iterator[None]:
    """Compute with this process's share of the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, _share_of_cores(number)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
