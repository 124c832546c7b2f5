"""Checkpoints of the size of what was trained, which know what they belong to.

A checkpoint holds the trained parameters and whatever else is the method's own (not the backbone, nor a frozen
encoder), Lightning's plain records, and an identity: which backbone, encoder, data and method. Loading anything else is
refused.
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from recsys_lora.utils.errors import UserError

_FROZEN_PARTS = ("backbone.", "encoder.")
IDENTITY = "identity"
RESUMED = "resumed_weights"
"""Key in a checkpoint of averaged weights of those that training goes on with."""
SAFE = ".safetensors"


def trained_state(module: nn.Module) -> dict[str, Tensor]:
    """Return the part of the state dict that a checkpoint needs: what is trained, buffers, and earlier stages' part."""
    trained = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    return {
        name: value
        for name, value in module.state_dict().items()
        if name in trained or not name.startswith(_FROZEN_PARTS)
    }


def verify(checkpoint: Mapping[str, Any], identity: Mapping[str, Any], module: nn.Module) -> None:
    """Refuse a checkpoint that belongs to something else than `module`.

    Args:
        checkpoint: as loaded.
        identity: what the module belongs to; JSON-able.
        module: the module that is to take the checkpoint's state.

    Raises:
        UserError: names what the checkpoint belongs to and what the run has.
    """
    theirs = checkpoint.get(IDENTITY)
    if not isinstance(theirs, Mapping):
        raise UserError("this checkpoint does not say what it belongs to: it was not written by recsys_lora")
    for part in [*identity, *(key for key in theirs if key not in identity)]:
        if theirs.get(part) != identity.get(part):
            raise UserError(
                f"the checkpoint belongs to another {part}: it was trained with {_short(theirs.get(part))}, "
                f"this run has {_short(identity.get(part))}: choose the same {part} as then, or another ckpt_path"
            )
    expected, found = trained_state(module), checkpoint["state_dict"]
    if differing := sorted(expected.keys() ^ found.keys()):
        where = "the checkpoint" if differing[0] in found else "this run"
        raise UserError(
            f"the checkpoint does not fit the method's options: {len(differing)} tensors differ, {differing[0]} is "
            f"only in {where}: give model.* the values it was trained with"
        )
    for name, value in expected.items():
        if value.shape != found[name].shape:
            raise UserError(
                f"the checkpoint does not fit the method's options: {name} is {tuple(found[name].shape)} there and "
                f"{tuple(value.shape)} here: give model.* the values it was trained with"
            )


def open_checkpoint(path: Path) -> dict[str, Any]:
    """Return what a checkpoint file holds, all of it on the CPU; nothing in it is run.

    Raises:
        UserError: there is no such file, it is damaged or no checkpoint, or it holds weights that are not numbers.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint: give ckpt_path the path of a .ckpt file")
    if path.suffix == SAFE:
        return _checked(path, _read_safe(path))
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not compare the checksums of its archive
            if damaged := archive.testzip():
                raise UserError(f"{path}: damaged ({damaged}): give another ckpt_path")
        checkpoint: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # what a damaged pickle raises is anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not a checkpoint of this program ({reason}): give another ckpt_path") from error
    return _checked(path, checkpoint)


def write_safe(path: Path, checkpoint: Mapping[str, Any]) -> None:
    """Write a checkpoint's tensors and its identity, and nothing else, as safetensors."""
    state = {name: value.contiguous() for name, value in checkpoint["state_dict"].items()}
    save_file(state, path, metadata={IDENTITY: json.dumps(checkpoint[IDENTITY])})


def _read_safe(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
            return {"state_dict": state, IDENTITY: json.loads((file.metadata() or {})[IDENTITY])}
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise UserError(f"{path}: not a checkpoint of this program ({error}): give another ckpt_path") from error


def _checked(path: Path, checkpoint: Any) -> dict[str, Any]:
    """Return what a file holds, once it is a checkpoint of finite numbers."""
    state = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path}: not a checkpoint of this program (no tensors by name): give another ckpt_path")
    for name, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise UserError(f"{path}: {name} holds values that are not finite: give another ckpt_path")
    return dict(checkpoint)


def read_checkpoint(path: Path, module: nn.Module, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checkpoint that belongs to `module`, all of it on the CPU.

    Raises:
        UserError: there is no such file, it is no checkpoint, or it belongs to something else.
    """
    checkpoint = open_checkpoint(path)
    try:
        verify(checkpoint, identity, module)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return checkpoint


def load_checkpoint(path: Path, module: nn.Module, identity: Mapping[str, Any]) -> None:
    """Put a checkpoint's trained state into a module.

    Raises:
        UserError: as `read_checkpoint`.
    """
    module.load_state_dict(read_checkpoint(path, module, identity)["state_dict"], strict=False)


def start_from(module: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Let a module, called `name`, take over the parameters that an earlier stage trained.

    Raises:
        UserError: the module has no parameter of such a name and shape.
    """
    own = dict(module.named_parameters())
    for key, value in state.items():
        if key not in own or own[key].shape != value.shape:
            theirs = tuple(own[key].shape) if key in own else "nothing of that name"
            raise UserError(
                f"first: its {key} {tuple(value.shape)} meets {theirs} in model={name}: give both the same low-rank "
                "updates (rank, targets), or first=null"
            )
    with torch.no_grad():
        for key, value in state.items():
            own[key].copy_(value)


def _short(identity: Any) -> str:
    if isinstance(identity, Mapping):
        return ", ".join(f"{key} {value}" for key, value in identity.items()) or "none"
    return "none" if identity is None else str(identity)
