"""A loss or a gradient that is not a number ends the run at once, with the batch kept for whoever looks into it."""

import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from recsys_lora.callbacks.measure import gradient_norm
from recsys_lora.errors import UserError
from recsys_lora.files import write_bytes


class StopOnNaN(Callback):
    """Checks every step's loss before it is back-propagated, and its gradient before it reaches the weights.

    Gradients are not checked where a loss scaler (16-mixed precision) does so itself and skips the step.

    Args:
        folder: where the offending batch is saved.
        gradients: check gradients, too.
    """

    def __init__(self, folder: str | Path, gradients: bool = True) -> None:
        self.folder = Path(folder).absolute()
        self.gradients = gradients
        self._batch: Any = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Remember the batch."""
        self._batch = batch

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Check the loss.

        Raises:
            UserError: it is not finite.
        """
        if not torch.isfinite(loss).all():
            self._stop(trainer, "loss", float(loss.detach()))

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Check the gradient.

        Raises:
            UserError: its norm is not finite.
        """
        if self.gradients and getattr(trainer.precision_plugin, "scaler", None) is None:
            norm = gradient_norm(pl_module)
            if not torch.isfinite(norm):
                self._stop(trainer, "gradient norm", float(norm))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let go of the last batch."""
        self._batch = None

    def _stop(self, trainer: Trainer, what: str, value: float) -> None:
        step, rank = trainer.global_step, trainer.global_rank
        path = self.folder / (f"nan_batch_step{step}.pt" if rank == 0 else f"nan_batch_step{step}_rank{rank}.pt")
        content = io.BytesIO()  # torch's own writing does not say when a disk is full
        torch.save({"step": step, "rank": rank, "what": what, "value": value, "batch": plain(self._batch)}, content)
        write_bytes(path, content.getbuffer())
        raise UserError(
            f"{path}: the {what} is {value} at step {step}, the batch is saved there: lower the learning rate"
            " (model.optimizer.lr) or raise the precision (llm.dtype=float32, trainer.precision=32-true)"
        )


def plain(value: Any) -> Any:
    """Return a batch as dictionaries, lists, CPU tensors and plain values, loadable with `weights_only=True`."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)
