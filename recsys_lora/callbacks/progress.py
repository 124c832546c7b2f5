"""Progress of a training run: steps, rate, time left, loss, learning rate, the monitored metric."""

import contextlib
import logging
import math
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from recsys_lora.utils.console import Advance, progress

log = logging.getLogger(__name__)

SECONDS_BETWEEN_NOTES = 0.5
"""Reading a loss waits for the device, so it is not done at every step of a fast run."""


class FitProgress(Callback):
    """Shows `trainer.fit` on the project's progress display, and logs a line after each validation.

    Args:
        monitor: the validation metric to show.
        title: what is being trained.
    """

    def __init__(self, monitor: str = "valid/auc", title: str = "training") -> None:
        self.monitor = monitor
        self.title = title
        self._open = contextlib.ExitStack()
        self._advance: Advance | None = None
        self._step = 0
        self._noted = 0.0
        self._loss: Tensor | None = None
        self._latest = ""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the display; after a resume it counts the remaining steps."""
        self._step = trainer.global_step
        expected = trainer.estimated_stepping_batches
        total = max(0.0, expected - self._step) if math.isfinite(expected) else None
        title = f"{self.title} from step {self._step}" if self._step else self.title
        self._advance = self._open.enter_context(progress(title, total, "steps", show=trainer.is_global_zero))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the step; show loss, learning rate and validation metric every half second."""
        if self._advance is None:
            return
        self._loss = _loss(outputs)
        now = time.monotonic()
        if now - self._noted >= SECONDS_BETWEEN_NOTES:
            self._noted = now
            self._latest = self._note(trainer)
        self._advance(trainer.global_step - self._step, self._latest)
        self._step = trainer.global_step

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Show the progress of a validation during training."""
        if self._advance is not None and not trainer.sanity_checking:
            total = trainer.num_val_batches[dataloader_idx]
            self._advance(0, f"validating {batch_idx + 1}/{total:g}")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show and log the result."""
        if self._advance is None or trainer.sanity_checking:
            return
        self._latest = self._note(trainer)
        self._advance(0, self._latest)
        if (value := trainer.callback_metrics.get(self.monitor)) is not None and trainer.is_global_zero:
            loss = math.nan if self._loss is None else float(self._loss)
            log.info("step %d: %s %.4f, loss %.4f", trainer.global_step, self.monitor, float(value), loss)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the display."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the display, so that the error is printed below it."""
        self._close()

    def _close(self) -> None:
        self._advance = None
        self._open.close()

    def _note(self, trainer: Trainer) -> str:
        parts = [] if self._loss is None else [f"loss {float(self._loss):.4f}"]
        if trainer.optimizers:
            parts.append(f"lr {trainer.optimizers[0].param_groups[0]['lr']:.2g}")
        if (value := trainer.callback_metrics.get(self.monitor)) is not None:
            parts.append(f"{self.monitor} {float(value):.4f}")
        return ", ".join(parts)


def _loss(outputs: Any) -> Tensor | None:
    """Return the loss that a training step returned, still on its device: reading it would wait for the device."""
    value = outputs.get("loss") if isinstance(outputs, dict) else outputs
    return value.detach() if isinstance(value, Tensor) else None
