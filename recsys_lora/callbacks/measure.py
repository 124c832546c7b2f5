"""Learning rate, gradient norm and throughput of training steps."""

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from recsys_lora.callbacks.lightning_internals import logs_now


def gradient_norm(module: torch.nn.Module) -> Tensor:
    """Return the 2-norm of all of a module's current gradients, a float32 scalar; 0 if there are none.

    With sharded parameters, it is that of this process's shards.
    """
    return torch.nn.utils.get_total_norm([p.grad.detach() for p in module.parameters() if p.grad is not None])


class LearningRateAndGradient(Callback):
    """Logs `train/lr`, the rate of this step's update, and `train/grad_norm`, before clipping."""

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Log both at the steps that loggers record; nothing waits for the device here."""
        if not logs_now(trainer):
            return
        rate = torch.tensor(float(optimizer.param_groups[0]["lr"]), dtype=torch.float64)
        pl_module.log("train/lr", rate)
        pl_module.log("train/grad_norm", gradient_norm(pl_module))


class Throughput(Callback):
    """Logs `train/rows_per_second` and `train/tokens_per_second` over all processes, excluding validation.

    A batch's length is its number of rows; its `tokens`, a scalar on its device, counts prompt tokens without padding.
    Logged every `trainer.log_every_n_steps` steps, over the time since the last log.
    """

    def __init__(self) -> None:
        self._rows = 0
        self._tokens: Tensor | int = 0
        self._seconds = 0.0
        self._since: float | None = None
        self._step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._restart(trainer.global_step)
        self._since = time.perf_counter()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        if self._since is not None:
            self._seconds += time.perf_counter() - self._since
            self._since = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restart the clock; before the training starts (sanity check) there is none."""
        if trainer.training or (trainer.validating and not trainer.sanity_checking):
            self._since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count rows and tokens, and log them every few steps."""
        self._rows += len(batch)
        self._tokens = self._tokens + batch.tokens
        step, every = trainer.global_step, trainer.log_every_n_steps  # type: ignore[attr-defined]
        if self._since is None or step == self._step or step % max(1, every):
            return
        total = float(self._tokens)  # waits for the device
        seconds = self._seconds + time.perf_counter() - self._since
        pl_module.log("train/rows_per_second", self._rows * trainer.world_size / seconds)
        pl_module.log("train/tokens_per_second", total * trainer.world_size / seconds)
        self._restart(step)
        self._since = time.perf_counter()

    def _restart(self, step: int) -> None:
        self._rows = 0
        self._tokens = 0
        self._seconds = 0.0
        self._step = step
