"""Several processes for a test: started afresh, for a fork of one whose OpenMP threads have run hangs."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed, multiprocessing

from tests.rounding import TRAINING, assert_close


def run(work: Callable[..., None], world: int, *arguments: Any) -> None:
    """Call `work(rank, *arguments)` on each process of one gloo group; `work` is a function of a module."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(_member, args=(world, port, work, arguments), nprocs=world)


def assert_two_train_as_one(train: Callable[..., dict[str, Any]], file: Path, *arguments: Any) -> None:
    """Compare the weights of `train(*arguments)`, a function of a module, with those of two processes by ddp."""
    run(_train, 2, train, file, *arguments)
    together = torch.load(file, weights_only=True)
    for name, value in train(*arguments).items():
        assert_close(together[name], value, TRAINING, what=name)


def _train(rank: int, train: Callable[..., dict[str, Any]], file: Path, *arguments: Any) -> None:
    state = train(*arguments, devices=2, strategy="ddp")
    if rank == 0:
        torch.save(state, file)


def _member(rank: int, world: int, port: int, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": world, "RANK": rank, "LOCAL_RANK": rank}
    os.environ |= {name: str(value) for name, value in meeting.items()}
    distributed.init_process_group("gloo")
    try:
        work(rank, *arguments)
    finally:
        distributed.destroy_process_group()
