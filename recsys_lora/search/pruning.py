"""Reports each validation of a trial to its search, and ends the trial if the search prunes it."""

import contextlib
import math
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

from lightning.pytorch import Callback, LightningModule, Trainer

if TYPE_CHECKING:
    import optuna


_UNDER_WAY: ContextVar["optuna.Trial | None"] = ContextVar("trial", default=None)


@contextlib.contextmanager
def reporting(trial: "optuna.Trial") -> Iterator[None]:
    """Let training in this block report to a trial."""
    token = _UNDER_WAY.set(trial)
    try:
        yield
    finally:
        _UNDER_WAY.reset(token)


class ReportTrial(Callback):
    """Reports the validation metric to the current trial, as its first, second, ... validation.

    In a job of several processes, only the one that runs the search has a trial; in the others this does nothing.

    Args:
        monitor: the validation metric.
        method: the name of the method that is searched; a first stage, which is another method, is not reported.
    """

    def __init__(self, monitor: str, method: str) -> None:
        self.monitor = monitor
        self.method = method
        self._validations = 0

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report a validation.

        Raises:
            optuna.TrialPruned: the search prunes the trial.
        """
        trial = _UNDER_WAY.get()
        if trial is None or trainer.sanity_checking or pl_module.name != self.method:
            return
        value = float(trainer.callback_metrics[self.monitor])
        if math.isnan(value):  # the checkpoint callback comes next and refuses it
            return
        self._validations += 1
        trial.report(value, self._validations)
        if trial.should_prune():
            import optuna

            raise optuna.TrialPruned(f"validation {self._validations}: {self.monitor} {value:.4f}")
