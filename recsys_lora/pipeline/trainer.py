"""The Lightning trainer of a method, made of its config; what Lightning cannot work with is one line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import Logger

from recsys_lora.config.edge import build
from recsys_lora.config.record import RunConfig
from recsys_lora.utils.errors import UserError

_DIVISORS = ("accumulate_grad_batches", "check_val_every_n_epoch", "val_check_interval")
"""Whole numbers that Lightning divides by and does not check."""


def build_trainer(
    config: RunConfig, folder: Path, loggers: Sequence[Logger] = (), **settings: Any
) -> lightning.Trainer:
    """Return the trainer that `trainer` describes, with the callbacks of `callbacks`.

    Args:
        config: the run's.
        folder: the run's.
        loggers: get what training logs.
        settings: in place of those of the config.

    Raises:
        UserError: Lightning refuses a value, or two that exclude each other.
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
    """Make the trainer once for its own checks, before anything is read, fitted or started.

    Raises:
        UserError: as `build_trainer`.
    """
    if not config.callbacks.get("checkpoint"):
        raise UserError("callbacks.checkpoint is left out: nothing would keep what is trained: leave it in")
    for key in _DIVISORS:
        if isinstance(value := config.trainer.get(key), int) and value < 1:
            raise UserError(f"trainer.{key}={value}: give 1 or more")
    trainer = build_trainer(config, folder, deterministic=False)  # which Lightning would turn on for the whole process
    if trainer.fast_dev_run:  # type: ignore[attr-defined]
        raise UserError("trainer.fast_dev_run: it keeps nothing to test: choose debug=fast")
