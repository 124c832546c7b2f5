"""Checkpoints that contain only the trained state and record what they belong to.

A checkpoint contains the trained parameters and the rest of the method's own state (not the backbone or a frozen
encoder), Lightning's plain records, and an identity: backbone, encoder, data and method. A checkpoint with another
identity is rejected.
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
"""In a checkpoint of averaged weights, the key of the weights that training resumes from."""
SAFE = ".safetensors"


def trained_state(module: nn.Module) -> dict[str, Tensor]:
    """Return the part of the state dict that a checkpoint needs: trained parameters, buffers, and earlier stages'."""
    trained = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    return {
        name: value
        for name, value in module.state_dict().items()
        if name in trained or not name.startswith(_FROZEN_PARTS)
    }


def verify(checkpoint: Mapping[str, Any], identity: Mapping[str, Any], module: nn.Module) -> None:
    """Reject a checkpoint that does not belong to `module`.

    Args:
        checkpoint: the loaded checkpoint.
        identity: the module's identity; JSON-serialisable.
        module: the module that is to load the checkpoint's state.

    Raises:
        UserError: it does not belong to `module`; the message names the difference.
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
    """Return the contents of a checkpoint file, on the CPU; no code in it is executed.

    Raises:
        UserError: the file does not exist, is damaged or not a checkpoint, or has weights that are not finite.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint: give ckpt_path the path of a .ckpt file")
    if path.suffix == SAFE:
        return _checked(path, _read_safe(path))
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not verify the archive's checksums
            if damaged := archive.testzip():
                raise UserError(f"{path}: damaged ({damaged}): give another ckpt_path")
        checkpoint: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # a damaged pickle can raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not a checkpoint of this program ({reason}): give another ckpt_path") from error
    return _checked(path, checkpoint)


def write_safe(path: Path, checkpoint: Mapping[str, Any]) -> None:
    """Write only a checkpoint's tensors and identity, as safetensors."""
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
    """Return a file's contents after checking that it is a checkpoint of finite numbers."""
    state = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path}: not a checkpoint of this program (no tensors by name): give another ckpt_path")
    for name, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise UserError(f"{path}: {name} holds values that are not finite: give another ckpt_path")
    return dict(checkpoint)


def read_checkpoint(path: Path, module: nn.Module, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checkpoint that belongs to `module`, on the CPU.

    Raises:
        UserError: the file does not exist, is not a checkpoint, or belongs to something else.
    """
    checkpoint = open_checkpoint(path)
    try:
        verify(checkpoint, identity, module)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return checkpoint


def load_checkpoint(path: Path, module: nn.Module, identity: Mapping[str, Any]) -> None:
    """Load a checkpoint's trained state into a module.

    Raises:
        UserError: as for `read_checkpoint`.
    """
    module.load_state_dict(read_checkpoint(path, module, identity)["state_dict"], strict=False)


def start_from(module: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Copy the parameters trained by an earlier stage into a module called `name`.

    Raises:
        UserError: the module has no parameter with the same name and shape.
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
