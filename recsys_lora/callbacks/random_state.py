"""Saves the state of the random number generators in the checkpoint, so that dropout continues where it was."""

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

_KEY = "random_state"


class RandomState(Callback):
    """Saves each process's generators (Python, numpy, torch, CUDA) and restores them at the first training batch.

    Not earlier: startup, such as building the loaders, draws numbers that the uninterrupted run did not.
    """

    def __init__(self) -> None:
        self._to_restore: dict[str, Any] | None = None

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Put the states of all processes into the checkpoint."""
        checkpoint[_KEY] = _of_all_processes(snapshot(trainer.strategy.root_device), trainer.world_size)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep this process's state until the first batch."""
        states = checkpoint.get(_KEY)
        if not states:
            rank_zero_warn("the checkpoint holds no state of the random number generators: dropout restarts")
            return
        if len(states) != trainer.world_size:
            rank_zero_warn(
                f"the checkpoint is of {len(states)} processes, this run has {trainer.world_size}: it goes on, but not"
                " with the same random numbers"
            )
        self._to_restore = states[trainer.global_rank % len(states)]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Restore the state, once."""
        if self._to_restore is not None:
            restore(self._to_restore, trainer.strategy.root_device)
            self._to_restore = None


def snapshot(device: torch.device) -> dict[str, Any]:
    """Return the generators' state as tensors and plain values, which `torch.load(weights_only=True)` accepts."""
    version, words, gauss = random.getstate()
    numpy_state: Any = np.random.get_state()
    state = {
        "python": [version, list(words), gauss],
        "numpy": [numpy_state[0], torch.from_numpy(numpy_state[1].astype(np.int64)), *map(float, numpy_state[2:])],
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore(state: dict[str, Any], device: torch.device) -> None:
    """Set the generators to what `snapshot` returned."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), int(position), int(has_gauss), cached))
    torch.set_rng_state(state["torch"].cpu())
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)


def _of_all_processes(state: dict[str, Any], world_size: int) -> list[dict[str, Any]]:
    if world_size == 1:
        return [state]
    states: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(states, state)
    return states
