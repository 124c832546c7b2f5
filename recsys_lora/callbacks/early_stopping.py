"""Stops when validation no longer improves; patience is counted in validations."""

import logging
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.trainer.states import TrainerFn

from recsys_lora.utils.errors import UserError
from recsys_lora.utils.types import NonNegativeFloat, PositiveInt

log = logging.getLogger(__name__)


class StopEarly(EarlyStopping):
    """Lightning's early stopping, checked after each validation, and exact across a resume.

    Args:
        patience: validations in a row without improvement that end training.
        min_delta: the smallest improvement that counts.
        monitor: the validation metric.
        mode: whether higher (`max`) or lower (`min`) is better.
    """

    def __init__(
        self,
        patience: PositiveInt,
        min_delta: NonNegativeFloat = 0.0,
        monitor: str = "valid/auc",
        mode: Literal["max", "min"] = "max",
    ) -> None:
        super().__init__(
            monitor=monitor, patience=patience, min_delta=min_delta, mode=mode, check_on_train_epoch_end=False
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the count, but keep this run's own patience."""
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check a validation.

        Raises:
            UserError: the module does not log the metric.
        """
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            refuse_unlogged(trainer, "stop_early", self.monitor)
        super().on_validation_end(trainer, pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop again if the run had stopped before it was interrupted."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log why the training ended, if early stopping ended it."""
        if self.wait_count >= self.patience and trainer.is_global_zero:
            log.info(
                "stopped at step %d: %s has not passed %.4f in %d validations",
                trainer.global_step,
                self.monitor,
                float(self.best_score),
                self.wait_count,
            )


def refuse_unlogged(trainer: Trainer, callback: str, metric: str) -> None:
    """Refuse to monitor a metric, for the callback under this key, that the module has not logged after a validation.

    Raises:
        UserError: it is not logged; the message names those that are.
    """
    if metric not in trainer.callback_metrics:
        known = ", ".join(sorted(trainer.callback_metrics))
        raise UserError(f"callbacks.{callback}.monitor={metric}: no such metric: choose one of {known}")
