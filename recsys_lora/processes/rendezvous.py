"""Where the processes of a job meet: the variables of `torch.distributed`'s env:// rendezvous, and LOCAL_RANK."""

import contextlib
import datetime
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import distributed

TIMEOUT = datetime.timedelta(days=7)
"""How long a process waits for another: as long as rank 0 may fetch, prepare and fit."""
POLL_SECONDS = 0.2
VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK", "LOCAL_RANK", "NODE_RANK")


def local_rendezvous(world_size: int) -> dict[str, str]:
    """Return where so many processes of this machine can meet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world_size)}


def ranks(rank: int) -> dict[str, str]:
    """Return the variables of one process of this machine."""
    return {"RANK": str(rank), "LOCAL_RANK": str(rank), "NODE_RANK": "0"}


def external_rendezvous() -> dict[str, str]:
    """Return where the processes meet that torchrun or SLURM has started, and this one's ranks."""
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    kinds = (TorchElasticEnvironment, SLURMEnvironment)
    found = next((kind() for kind in kinds if kind.detect()), None) or LightningEnvironment()
    return {
        "MASTER_ADDR": found.main_address,
        "MASTER_PORT": str(found.main_port),
        "WORLD_SIZE": os.environ.get("WORLD_SIZE") or str(found.world_size()),
        "RANK": os.environ.get("RANK") or str(found.global_rank()),
        "LOCAL_RANK": str(found.local_rank()),
        "NODE_RANK": str(found.node_rank()),
    }


@contextlib.contextmanager
def rendezvous(meeting: Mapping[str, str], meanwhile: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Meet the other processes; the environment and `torch.distributed` are afterwards as before.

    Args:
        meeting: a value for each of `VARIABLES`.
        meanwhile: called now and then while the others are waited for; what it raises ends the waiting.
    """
    before = {name: os.environ.get(name) for name in VARIABLES}
    os.environ |= meeting
    if torch.cuda.is_available():
        torch.cuda.set_device(int(meeting["LOCAL_RANK"]) % torch.cuda.device_count())
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        _meet(backend, meanwhile)
        try:
            yield
        finally:
            distributed.destroy_process_group()
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _meet(backend: str, meanwhile: Callable[[], None]) -> None:
    """Wait for the others in a thread of its own, so that signals and deaths are answered while torch waits."""
    failures: list[BaseException] = []

    def wait() -> None:
        try:
            distributed.init_process_group(backend, timeout=TIMEOUT)
        except BaseException as error:  # it is raised below, in the thread that waits for this one
            failures.append(error)

    waiting = threading.Thread(target=wait, name="rendezvous", daemon=True)
    waiting.start()
    while waiting.is_alive():
        meanwhile()
        waiting.join(POLL_SECONDS)
    if failures:
        raise failures[0]
