"""Ends the run at a loss or gradient that is not finite, and saves the batch for inspection."""

import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from recsys_lora.callbacks.measure import gradient_norm
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import write_bytes
from recsys_lora.utils.types import PositiveInt


@dataclasses.dataclass
class _Pending:
    """A batch's values that have not been checked yet, by name, and the optimiser step that it belongs to."""

    step: int
    batch: Any
    values: dict[str, Tensor] = dataclasses.field(default_factory=dict)


class StopOnNaN(Callback):
    """Checks every step's loss, and its gradient before it reaches the weights.

    Reading a number makes the host wait for the device. With a fused optimiser on a device, both are therefore checked
    only every few steps; until then, the device itself skips every update from the first bad step on, so the weights
    stay as they were before it. Otherwise a loss is checked before it is back-propagated.

    Gradients are not checked if a loss scaler (16-mixed precision) does so itself and skips the step.

    Args:
        folder: where the offending batch is saved.
        gradients: check gradients, too.
        every_n_steps: how often to check; `auto`: at every step on a CPU, elsewhere at the steps that are logged. A
            validation or a checkpoint is always preceded by a check.
    """

    def __init__(
        self, folder: str | Path, gradients: bool = True, every_n_steps: PositiveInt | Literal["auto"] = "auto"
    ) -> None:
        self.folder = Path(folder).absolute()
        self.gradients = gradients
        self.every_n_steps = every_n_steps
        self._every = 1
        self._pending: list[_Pending] = []
        self._bad: Tensor | None = None  # 1 from the first bad step on, as a fused optimiser reads it

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Decide how often to check."""
        waits = pl_module.device.type != "cpu" or self.every_n_steps != "auto"
        if waits and all(optimizer.defaults.get("fused") for optimizer in trainer.optimizers):
            logged = trainer.log_every_n_steps  # type: ignore[attr-defined]
            self._every = max(1, logged) if self.every_n_steps == "auto" else self.every_n_steps

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Remember the batch."""
        self._pending.append(_Pending(trainer.global_step, batch))

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Check the loss.

        Raises:
            UserError: it is not finite.
        """
        self._note("loss", loss.detach())
        if self._every == 1:
            self._check(trainer)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Check the gradient.

        Raises:
            UserError: its norm is not finite.
        """
        if self.gradients and getattr(trainer.precision_plugin, "scaler", None) is None:
            self._note("gradient norm", gradient_norm(pl_module))
        if (trainer.global_step + 1) % self._every == 0:
            self._check(trainer)
        elif self._bad is not None:
            optimizer.found_inf = self._bad  # type: ignore[attr-defined]  # AdamW, fused: no update where it is 1

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the steps not checked yet.

        Raises:
            UserError: a loss or a gradient was not finite.
        """
        self._check(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Check the steps not checked yet.

        Raises:
            UserError: a loss or a gradient was not finite.
        """
        self._check(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the last steps and release their batches.

        Raises:
            UserError: a loss or a gradient was not finite.
        """
        self._check(trainer)
        self._pending = []

    def _note(self, what: str, value: Tensor) -> None:
        self._pending[-1].values[what] = value
        bad = (~torch.isfinite(value)).float()
        self._bad = bad if self._bad is None else torch.maximum(self._bad, bad)

    def _check(self, trainer: Trainer) -> None:
        """Read one number; if any value was bad, find the first one and stop."""
        if self._bad is not None and bool(self._bad):
            for pending in self._pending:
                for what, value in pending.values.items():
                    if not bool(torch.isfinite(value)):
                        self._stop(trainer, pending, what, float(value))
        self._bad = None
        self._pending = self._pending[-1:]  # its gradient may still come
        for pending in self._pending:
            pending.values.clear()

    def _stop(self, trainer: Trainer, pending: _Pending, what: str, value: float) -> None:
        step, rank = pending.step, trainer.global_rank
        path = self.folder / (f"nan_batch_step{step}.pt" if rank == 0 else f"nan_batch_step{step}_rank{rank}.pt")
        content = io.BytesIO()  # torch does not report a full disk when it writes a file itself
        torch.save({"step": step, "rank": rank, "what": what, "value": value, "batch": plain(pending.batch)}, content)
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
