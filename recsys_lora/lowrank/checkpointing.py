"""Bind the batch's state to the blocks that gradient checkpointing runs again.

The second run comes in the backward pass: on another thread where the device is a GPU, and when another forward may
have replaced the state. It therefore takes the state of its first run along. Checkpointing that is not reentrant keeps
the first run's graph, so that gradients reach the network that made the factors as they do without it.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from recsys_lora.lowrank.state import StateSlot

_FUNCTION = "_gradient_checkpointing_func"
"""What transformers calls a module's `torch.utils.checkpoint.checkpoint`."""


class _Bound:
    """A module's checkpointing function, whose functions run with the state of their first run."""

    def __init__(self, checkpoint: Callable[..., Any], slot: StateSlot) -> None:
        self.checkpoint = checkpoint
        self.slot = slot

    def __call__(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.checkpoint(self.slot.bound(function), *args)


def bind_state_to_blocks(model: nn.Module, slot: StateSlot) -> Callable[[], None]:
    """Make `model`'s checkpointed blocks run again with the state of their forward; nothing else changes.

    Args:
        model: a causal language model; its body is `model.base_model`. Checkpointing may be switched on later.
        slot: where the layers find the state.

    Returns:
        What undoes it.
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
    """Bind the checkpointing functions that are not yet; the reentrant kind would go on into the factors' network."""
    for part in body.modules():
        function = part.__dict__.get(_FUNCTION)
        if function is None or isinstance(function, _Bound):
            continue
        if getattr(function, "keywords", {}).get("use_reentrant"):
            raise ValueError("low-rank layers need gradient checkpointing with use_reentrant=False")
        setattr(part, _FUNCTION, _Bound(function, slot))
