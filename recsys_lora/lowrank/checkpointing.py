"""Bind the batch's state to the blocks that gradient checkpointing recomputes.

The recomputation happens in the backward pass: on another thread if the device is a GPU, and possibly after another
forward has replaced the state. It therefore uses the state of the first run. Non-reentrant checkpointing keeps the
first run's graph, so gradients reach the network that generated the factors as they do without checkpointing.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from recsys_lora.lowrank.state import StateSlot

_FUNCTION = "_gradient_checkpointing_func"
"""The attribute in which transformers keeps a module's `torch.utils.checkpoint.checkpoint`."""


class _Bound:
    """A module's checkpointing function, which runs functions with the state of their first run."""

    def __init__(self, checkpoint: Callable[..., Any], slot: StateSlot) -> None:
        self.checkpoint = checkpoint
        self.slot = slot

    def __call__(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.checkpoint(self.slot.bound(function), *args)


def bind_state_to_blocks(model: nn.Module, slot: StateSlot) -> Callable[[], None]:
    """Make `model`'s checkpointed blocks recompute with the state of their forward; nothing else changes.

    Args:
        model: a causal language model; its body is `model.base_model`. Checkpointing may be switched on later.
        slot: where the layers find the state.

    Returns:
        A function that undoes it.
    """
    body = getattr(model, "base_model", model)

    def before(module: nn.Module, args: tuple[Any, ...]) -> None:
        if torch.is_grad_enabled():
            _bind(module, slot)

    hook = body.register_forward_pre_hook(before)

    def undo() -> None:
        hook.remove()
        for part in body.modules():
            if isinstance(bound := part.__dict__.get(_FUNCTION), _Bound):
                setattr(part, _FUNCTION, bound.checkpoint)

    return undo


def _bind(body: nn.Module, slot: StateSlot) -> None:
    """Bind the checkpointing functions that are not bound yet; reentrant ones would go on into the factors' graph."""
    for part in body.modules():
        function = part.__dict__.get(_FUNCTION)
        if function is None or isinstance(function, _Bound):
            continue
        if getattr(function, "keywords", {}).get("use_reentrant"):
            raise ValueError("low-rank layers need gradient checkpointing with use_reentrant=False")
        setattr(part, _FUNCTION, _Bound(function, slot))
