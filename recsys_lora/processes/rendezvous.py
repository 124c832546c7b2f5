"""The rendezvous of a job's processes: the variables of `torch.distributed`'s env:// rendezvous, and LOCAL_RANK."""

import contextlib
import datetime
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import distributed

TIMEOUT = datetime.timedelta(days=7)
"""How long a process waits for another: rank 0 may take that long to fetch, prepare and fit."""
POLL_SECONDS = 0.2
VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK", "LOCAL_RANK", "NODE_RANK")


def local_rendezvous(world_size: int) -> dict[str, str]:
    """Return the rendezvous variables for `world_size` processes on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world_size)}


def ranks(rank: int) -> dict[str, str]:
    """Return the rank variables of one process on this machine."""
    return {"RANK": str(rank), "LOCAL_RANK": str(rank), "NODE_RANK": "0"}


def external_rendezvous() -> dict[str, str]:
    """Return the rendezvous and rank variables of a process that torchrun or SLURM has started."""
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
    """Connect to the other processes for a block, then restore the environment and `torch.distributed`.

    Args:
        meeting: a value for each of `VARIABLES`.
        meanwhile: called repeatedly while waiting for the others; an exception ends the wait.
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
    """Wait for the others in a separate thread, so that signals and dead processes are noticed while torch waits."""
    failures: list[BaseException] = []

    def wait() -> None:
        try:
            distributed.init_process_group(backend, timeout=TIMEOUT)
        except BaseException as error:  # raised below, in the thread that waits for this one
            failures.append(error)

    waiting = threading.Thread(target=wait, name="rendezvous", daemon=True)
    waiting.start()
    while waiting.is_alive():
        meanwhile()
        waiting.join(POLL_SECONDS)
    if failures:
        raise failures[0]
