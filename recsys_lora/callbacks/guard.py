"""A loss or a gradient that is not a number ends the run at once, with the batch kept for whoever looks into it."""

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
class _Unread:
    """What a batch gave and nobody has looked at yet.

    Attributes:
        step: the optimiser step that it belongs to.
        batch: on its device.
        values: name -> number on the device.
    """

    step: int
    batch: Any
    values: dict[str, Tensor] = dataclasses.field(default_factory=dict)


class StopOnNaN(Callback):
    """Checks every step's loss, and its gradient before it reaches the weights.

    Looking at a number makes the host wait for the device. Where the optimiser is fused and works on a device, both are
    therefore looked at every few steps only; until then the device itself leaves out every update from the first bad
    step on, so that weights are what they were before it. Otherwise a loss is looked at before it is back-propagated.

    Gradients are not checked where a loss scaler (16-mixed precision) does so itself and skips the step.

    Args:
        folder: where the offending batch is saved.
        gradients: check gradients, too.
        every_n_steps: how often to look; `auto`: at every step on a CPU, elsewhere when loggers read, too. Looked at
            anyway before a validation and before a checkpoint is written.
    """

    def __init__(
        self, folder: str | Path, gradients: bool = True, every_n_steps: PositiveInt | Literal["auto"] = "auto"
    ) -> None:
        self.folder = Path(folder).absolute()
        self.gradients = gradients
        self.every_n_steps = every_n_steps
        self._every = 1
        self._unread: list[_Unread] = []
        self._bad: Tensor | None = None  # 1 from the first bad step on, as a fused optimiser reads it

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Decide how often to look."""
        waits = pl_module.device.type != "cpu" or self.every_n_steps != "auto"
        if waits and all(optimizer.defaults.get("fused") for optimizer in trainer.optimizers):
            logged = trainer.log_every_n_steps  # type: ignore[attr-defined]
            self._every = max(1, logged) if self.every_n_steps == "auto" else self.every_n_steps

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Remember the batch."""
        self._unread.append(_Unread(trainer.global_step, batch))

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Check the loss.

        Raises:
            UserError: it is not finite.
        """
        self._note("loss", loss.detach())
        if self._every == 1:
            self._look(trainer)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Check the gradient.

        Raises:
            UserError: its norm is not finite.
        """
        if self.gradients and getattr(trainer.precision_plugin, "scaler", None) is None:
            self._note("gradient norm", gradient_norm(pl_module))
        if (trainer.global_step + 1) % self._every == 0:
            self._look(trainer)
        elif self._bad is not None:
            optimizer.found_inf = self._bad  # type: ignore[attr-defined]  # AdamW, fused: no update where it is 1

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at what nobody has looked at.

        Raises:
            UserError: a loss or a gradient was not finite.
        """
        self._look(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Look at what nobody has looked at.

        Raises:
            UserError: a loss or a gradient was not finite.
        """
        self._look(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the last steps, and let go of their batches.

        Raises:
            UserError: a loss or a gradient was not finite.
        """
        self._look(trainer)
        self._unread = []

    def _note(self, what: str, value: Tensor) -> None:
        self._unread[-1].values[what] = value
        bad = (~torch.isfinite(value)).float()
        self._bad = bad if self._bad is None else torch.maximum(self._bad, bad)

    def _look(self, trainer: Trainer) -> None:
        """Read one number; where it says so, find the first bad value and stop."""
        if self._bad is not None and bool(self._bad):
            for unread in self._unread:
                for what, value in unread.values.items():
                    if not bool(torch.isfinite(value)):
                        self._stop(trainer, unread, what, float(value))
        self._bad = None
        self._unread = self._unread[-1:]  # its gradient may still come
        for unread in self._unread:
            unread.values.clear()

    def _stop(self, trainer: Trainer, unread: _Unread, what: str, value: float) -> None:
        step, rank = unread.step, trainer.global_rank
        path = self.folder / (f"nan_batch_step{step}.pt" if rank == 0 else f"nan_batch_step{step}_rank{rank}.pt")
        content = io.BytesIO()  # torch's own writing does not say when a disk is full
        torch.save({"step": step, "rank": rank, "what": what, "value": value, "batch": plain(unread.batch)}, content)
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
