"""A method's training, its loggers and the checkpoint to resume from; Lightning's refusals become one-line errors."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import Logger

from recsys_lora.callbacks.checkpoint import ARTIFACT, LAST, BestLast
from recsys_lora.callbacks.loggers import close
from recsys_lora.config.edge import build
from recsys_lora.config.record import RunConfig
from recsys_lora.methods.base import LLMRecommender
from recsys_lora.methods.checkpoint import open_checkpoint
from recsys_lora.processes.group import ProcessGroup
from recsys_lora.processes.signals import requeue_waits
from recsys_lora.tasks.module import TaskData
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import make_folder

_DIVISORS = ("accumulate_grad_batches", "check_val_every_n_epoch", "val_check_interval")
"""Integers that Lightning divides by without checking them."""
log = logging.getLogger(__name__)


def resume_checkpoint(folder: Path, key: str, processes: ProcessGroup) -> Path | None:
    """Return a run's last checkpoint, the same in all processes of the job; None if there is none.

    Args:
        folder: the run's checkpoints. Rank 0 looks into its own folder; the others must be able to read that path.
        key: key of the artifact to be trained; a checkpoint for another artifact is ignored.
        processes: the processes of the job.
    """
    return processes.broadcast(_found(folder, key) if processes.is_rank_zero else None)


def _found(folder: Path, key: str) -> Path | None:
    for left in folder.glob(".*.tmp"):  # of a process that was killed while writing: the folder's lock shows that
        left.unlink()
    path = folder / LAST
    if not path.is_file():
        return None
    try:
        checkpoint = open_checkpoint(path)
    except UserError as error:
        log.warning("%s; training starts from scratch", error)
        return None
    if checkpoint.get(ARTIFACT) != key:
        log.info("%s: of another training: this one starts from scratch", path)
        return None
    log.info("training goes on from step %d of %s", checkpoint["global_step"], path)
    return path


def build_loggers(config: RunConfig) -> list[Logger]:
    """Return the run's loggers; those of a service send nothing until something is logged.

    Raises:
        UserError: a package or an account is missing, or a folder cannot be made.
    """
    for name, node in config.logger.items():
        if node and (folder := node.get("save_dir")):
            make_folder(Path(folder), f"logger.{name}.save_dir=FOLDER")
    return [build(node, f"logger.{name}") for name, node in config.logger.items() if node]


def build_trainer(
    config: RunConfig, folder: Path, loggers: Sequence[Logger] = (), **settings: Any
) -> lightning.Trainer:
    """Return the trainer that `trainer` describes, with the callbacks of `callbacks`; `settings` override the config's.

    Raises:
        UserError: Lightning refuses a value, or a combination of values.
    """
    callbacks = [build(node, f"callbacks.{name}") for name, node in config.callbacks.items() if node]
    make = build(config.trainer, "trainer")
    try:
        trainer: lightning.Trainer = make(
            callbacks=callbacks, logger=list(loggers), default_root_dir=folder, **settings
        )
    except (MisconfigurationException, ImportError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise UserError(f"trainer: {reason}: conf/trainer/cpu.yaml explains each value") from error
    return trainer


def check_trainer(config: RunConfig, folder: Path) -> None:
    """Build the trainer once for its own checks, before anything is read, fitted or started.

    Raises:
        UserError: see `build_trainer`; or nothing would keep or test what is trained, or an interval is below 1.
    """
    if not config.callbacks.get("checkpoint"):
        raise UserError("callbacks.checkpoint is left out: nothing would keep what is trained: leave it in")
    for key in _DIVISORS:
        if isinstance(value := config.trainer.get(key), int) and value < 1:
            raise UserError(f"trainer.{key}={value}: give 1 or more")
    trainer = build_trainer(config, folder, deterministic=False)  # Lightning would turn it on for the whole process
    if trainer.fast_dev_run:  # type: ignore[attr-defined]
        raise UserError("trainer.fast_dev_run: it keeps nothing to test: choose debug=fast")


def train(
    config: RunConfig,
    module: LLMRecommender,
    datamodule: TaskData,
    run_folder: Path,
    key: str,
    start: Path | str | None,
) -> dict[str, Any]:
    """Fit a method for the artifact `key`, resuming from the checkpoint `start` if given; return its record."""
    loggers = build_loggers(config)
    for logger in loggers:
        logger.log_hyperparams(config.as_dict())
    trainer = build_trainer(config, run_folder, loggers)
    trained = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    frozen = module.backbone.size
    log.info("%s: %s trained parameters beside %s frozen", module.name, f"{trained:,}", f"{frozen:,}")
    checkpoint = trainer.checkpoint_callback
    if isinstance(checkpoint, BestLast):
        checkpoint.artifact = key
    place = module.device
    begun, failed = time.monotonic(), True
    try:
        with requeue_waits():
            trainer.fit(module, datamodule=datamodule, ckpt_path=start, weights_only=True)
        module.to(place)  # Lightning leaves the trained module on the CPU
        failed = False
    except SystemExit:  # Lightning's answer to an interrupt
        if trainer.interrupted:
            raise KeyboardInterrupt from None
        raise
    finally:
        close(loggers, failed)
    own = checkpoint if isinstance(checkpoint, BestLast) and start != config.ckpt_path else None
    return {
        "seconds": round(own.seconds if own else time.monotonic() - begun, 1),
        "steps": trainer.global_step,
        "rows": len(datamodule.train) if datamodule.train is not None else 0,
        "valid_rows": len(datamodule.valid) if datamodule.valid is not None else 0,
        "trained_parameters": trained,
        "frozen_parameters": frozen,
        "monitor": getattr(checkpoint, "monitor", None),
        "best_valid": getattr(checkpoint, "best_score", None),
        "best_step": getattr(checkpoint, "best_step", None),
    }
