"""Two checkpoints: the best by validation, and the last to resume from.

Both are written at the end of a validation, after early stopping has seen it: a checkpoint of the batch before a due
validation would skip that validation on resume, and shift patience and best. A validation that falls between the
batches of one optimiser step writes only the best: gradients are not in a checkpoint, so the last waits for the step.
The module decides what they contain (only trained weights, see methods/): they have the adapter's size, not the LLM's.

If the trainer validates all rows before the first step (`num_sanity_val_steps=-1`), that validation counts, too: the
initial weights are then the best until others are better.
"""

import logging
import math
import shutil
import time
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from recsys_lora.callbacks.early_stopping import refuse_unlogged
from recsys_lora.callbacks.lightning_internals import gradients_add_up, log_step, validation_or_epoch_end_due
from recsys_lora.processes.signals import REQUEUE, Stopped, rearm, requeue_asked, requeues
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import atomic_file, disk_errors, temporary_name
from recsys_lora.utils.types import PositiveInt

log = logging.getLogger(__name__)
BEST, LAST = "best.ckpt", "last.ckpt"
ARTIFACT = "artifact"
"""Key of `BestLast.artifact` in a checkpoint."""


class BestLast(Checkpoint):
    """Writes `best.ckpt` and `last.ckpt`, each atomically.

    Args:
        folder: the folder they are in.
        monitor: the validation metric that decides which is best.
        mode: whether higher (`max`) or lower (`min`) is better; of two equals, the earlier stays.
        every_n_steps: also write `last.ckpt` every n optimiser steps, unless a validation is due; None: only at
            validations.

    Attributes:
        artifact: key of the artifact being trained; every checkpoint holds it, so that a run resumes only from its
            own. None if there is none.

    If SLURM is about to end the job (see `recsys_lora.processes.signals`), `last.ckpt` is written after the current
    optimiser step, and training ends with `Stopped`.
    """

    def __init__(
        self,
        folder: str | Path,
        monitor: str = "valid/auc",
        mode: Literal["max", "min"] = "max",
        every_n_steps: PositiveInt | None = None,
    ) -> None:
        super().__init__()
        self.folder = Path(folder).absolute()
        self.monitor = monitor
        self.mode = mode
        self.every_n_steps = every_n_steps
        self.best_score: float | None = None
        self.best_step: int | None = None
        self.saved_step: int | None = None
        self.artifact: str | None = None
        self._restored_from: Path | None = None
        self._last_waits = False
        self._seconds_before = 0.0
        self._begun = time.monotonic()

    @property
    def last_model_path(self) -> str:
        """Path of the last checkpoint, "" before there is one."""
        return str(self.folder / LAST) if self.saved_step is not None else ""

    @property
    def best_model_path(self) -> str:
        """Path of the best checkpoint, or of the last one if nothing was validated; "" before there is one."""
        return str(self.folder / BEST) if self.best_score is not None else self.last_model_path

    @property
    def seconds(self) -> float:
        """Wall time of the training so far, including the training it was resumed from."""
        return self._seconds_before + time.monotonic() - self._begun

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start the clock."""
        self._begun = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs to keep choosing the best."""
        best = {"best_score": self.best_score, "best_step": self.best_step, "folder": str(self.folder)}
        return {**best, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best so far."""
        self.best_score = state_dict["best_score"]
        self.best_step = state_dict["best_step"]
        self._restored_from = Path(state_dict["folder"])
        self._seconds_before = state_dict.get("seconds", 0.0)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Record the key of the artifact being trained."""
        checkpoint[ARTIFACT] = self.artifact

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """After a resume, copy the best checkpoint from the earlier run folder.

        Raises:
            UserError: it is missing.
        """
        rearm()
        former = self._restored_from
        self._restored_from = None
        if former is None:
            return
        self.saved_step = trainer.global_step
        if self.best_score is None or (self.folder / BEST).exists() or not trainer.is_global_zero:
            return
        if not (former / BEST).exists():
            raise UserError(
                f"{former / BEST}: not there, but the run to go on from had its best validation at step"
                f" {self.best_step}: put the file back or start a new run"
            )
        with atomic_file(self.folder / BEST) as temporary:
            shutil.copyfile(former / BEST, temporary)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare the metric with the best so far, and write.

        Raises:
            UserError: the metric is not a number, or the module does not log it.
        """
        if self._not_training(trainer):
            return
        refuse_unlogged(trainer, "checkpoint", self.monitor)
        score = float(trainer.callback_metrics[self.monitor])
        if math.isnan(score):
            raise UserError(
                f"{self.monitor} is not a number at step {trainer.global_step}: the validation rows have no two"
                " classes: raise data.valid_rows"
            )
        improved = self.best_score is None or (
            score > self.best_score if self.mode == "max" else score < self.best_score
        )
        if improved:
            self.best_score = score
            self.best_step = trainer.global_step
        if trainer.sanity_checking:
            log.info("before the first step %s is %.4f", self.monitor, score)
            self._write(trainer, best=improved, last=False)
            return
        self._last_waits = gradients_add_up(trainer)
        self._write(trainer, best=improved, last=not self._last_waits)
        if not self._last_waits and self._must_requeue(trainer):
            raise Stopped(REQUEUE)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write between validations, if that is asked for.

        Lightning logs a step's row after this hook. A run resumed from here would lack that row, so it is logged first;
        if the run continues in this process, the loggers get it twice.
        """
        step = trainer.global_step
        if self._not_training(trainer) or validation_or_epoch_end_due(trainer):
            return
        requeues_now = self._must_requeue(trainer)
        wanted = requeues_now or self._last_waits or (self.every_n_steps is not None and step % self.every_n_steps == 0)
        if wanted and step != self.saved_step:
            self._last_waits = False
            log_step(trainer)
            self._write(trainer)
        if requeues_now:
            raise Stopped(REQUEUE)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what was trained after the last validation, or without any."""
        if not self._not_training(trainer) and trainer.global_step != self.saved_step:
            self._write(trainer)

    @staticmethod
    def _must_requeue(trainer: Trainer) -> bool:
        """Return whether any process has been asked to requeue the job; all processes get the same answer."""
        return requeues() and bool(trainer.strategy.reduce_boolean_decision(requeue_asked(), all=False))

    @staticmethod
    def _not_training(trainer: Trainer) -> bool:
        is_sanity_check = trainer.sanity_checking and trainer.num_sanity_val_steps != math.inf
        return bool(trainer.state.fn != TrainerFn.FITTING or is_sanity_check or trainer.fast_dev_run)  # type: ignore[attr-defined]

    def _write(self, trainer: Trainer, best: bool = False, last: bool = True) -> None:
        """Write the current state to `best.ckpt`, then to `last.ckpt`.

        In this order, a run killed between the two repeats the validation and finds the same best again.
        """
        if not best and not last:
            return
        if last:
            self.saved_step = trainer.global_step
        temporary = temporary_name(self.folder / LAST)
        with disk_errors(self.folder / LAST):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                for logger in trainer.loggers:
                    logger.save()  # a run that resumes from here needs the log up to here on disk
                trainer.save_checkpoint(temporary, weights_only=False)
                if trainer.is_global_zero:
                    if best:
                        with atomic_file(self.folder / BEST) as copy:
                            shutil.copyfile(temporary, copy)
                    if last:
                        temporary.replace(self.folder / LAST)
            finally:
                temporary.unlink(missing_ok=True)
        trainer.strategy.barrier("BestLast")
