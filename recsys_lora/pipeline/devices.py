"""The device of a run: whether this machine has it, and which settings suit it.

The pipeline, which owns a run's parts, moves each of them to the device once: the backbone and the encoder when they
are loaded, the method when it is built. Lightning moves the module it trains, and leaves it on the CPU. All other code
takes the device from the module it is given, and moves only rows.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_object

from recsys_lora.config.record import RunConfig
from recsys_lora.llm.backbone import Backbone
from recsys_lora.llm.dtype import dtype_name
from recsys_lora.pipeline.sharded import wants_shards
from recsys_lora.pipeline.trainer import check_trainer
from recsys_lora.processes.group import planned_processes
from recsys_lora.utils.errors import UserError

CPU_TOKENS, _MOST_TOKENS = 4096, 65_536
"""Padded tokens of a scoring batch: on a CPU, and at most on a GPU, as used by runs on an H200."""
_TOKENS_PER_GIB = 512
"""Per GiB of GPU memory."""
CUDA = ("gpu", "cuda")
log = logging.getLogger(__name__)


def device(trainer: Mapping[str, Any]) -> torch.device:
    """Return the device of this process that a trainer's config asks for.

    Raises:
        UserError: PyTorch does not find it here.
    """
    accelerator = trainer["accelerator"]
    if accelerator in (*CUDA, "auto") and torch.cuda.is_available():
        return torch.device("cuda")
    _refuse_missing("trainer", accelerator, "choose trainer=cpu")
    return torch.device("cpu")


def check_devices(config: RunConfig, folder: Path) -> None:
    """Refuse a run whose devices are missing or that would train nothing, before anything is read, fitted or started.

    Raises:
        UserError: devices are missing, or no step would be trained.
    """
    trainer, kind = config.trainer, get_object(config.model["_target_"])
    device(trainer)
    if kind.needs_backbone and kind.trains and config.train:
        _refuse_no_step(trainer)
    if kind.needs_encoder:
        _refuse_missing("cf.trainer", config.cf.trainer["accelerator"], "set it to auto")
    sharded = wants_shards(trainer)
    if sharded and config.llm.get("quantise", "none") != "none":
        raise UserError("trainer=fsdp cannot spread quantised weights: set llm.quantise=none, or choose trainer=ddp")
    if sharded and config.llm.get("compiled", False):
        raise UserError("trainer=fsdp spreads blocks that are not compiled: set llm.compiled=false")
    if planned_processes(trainer) == 1 and sharded:
        raise UserError("trainer=fsdp: one device has nothing to spread the backbone over: choose trainer=gpu")
    if kind.needs_backbone and kind.trains and config.train:
        check_trainer(config, folder)


def _refuse_no_step(trainer: Mapping[str, Any]) -> None:
    for key in ("max_epochs", "max_steps", "limit_train_batches"):
        if trainer.get(key) == 0:
            raise UserError(f"trainer.{key}=0: nothing would be trained: give more, or train=false with ckpt_path=FILE")


def _refuse_missing(key: str, accelerator: str, instead: str) -> None:
    if accelerator == "mps" and not torch.backends.mps.is_available():
        raise UserError(f"{key}.accelerator=mps: PyTorch finds no Apple GPU: {instead}")
    if accelerator in CUDA and not torch.cuda.is_available():
        reason = "" if torch.version.cuda else f", as PyTorch {torch.__version__} is built without CUDA"
        raise UserError(f"{key}.accelerator={accelerator}: PyTorch finds no CUDA device{reason}: {instead}")


def suited(config: RunConfig, place: torch.device) -> RunConfig:
    """Return the config with `auto` values that change no result replaced by what suits the device."""
    if config.evaluation.token_budget != "auto":
        return config
    return replace(config, evaluation=replace(config.evaluation, token_budget=token_budget(place)))


def token_budget(place: torch.device) -> int:
    """Return how many padded tokens a scoring batch may hold on a device."""
    if place.type != "cuda":
        return CPU_TOKENS
    memory: int = torch.cuda.get_device_properties(place).total_memory
    return max(CPU_TOKENS, min(_MOST_TOKENS, _TOKENS_PER_GIB * memory // 2**30))


def log_choices(config: RunConfig, backbone: Backbone) -> None:
    """Log in one line the run's device and the settings chosen for it."""
    place = backbone.device
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else place.type
    budget, compiled = config.scoring_tokens, config.llm.get("compiled", False)
    log.info(
        "on %s: llm.dtype=%s, llm.compiled=%s, evaluation.token_budget=%d",
        name,
        dtype_name(backbone.dtype),
        str(compiled).lower(),
        budget,
    )
