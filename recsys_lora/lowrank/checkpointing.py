"""Tie the batch's state to one forward and its backward, also under gradient checkpointing.

Checkpointing runs a block again in the backward pass, when another forward may have replaced the state, and its
reentrant kind runs a backward of its own for every block, which must not run on into the network that made the
factors. Two hooks on the decoder's body, active only where checkpointing is on, see to both:

* before the body: the layers get leaf copies of the factors, where the blocks' gradients add up, and the input
  embeddings pass through `_Tie`, whose backward comes after every block's and hands the sums to the network;
* after the body: when the gradient arrives at the last hidden state, the state of *that* forward is put back.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from recsys_lora.lowrank.state import StateSlot


class _Tie(torch.autograd.Function):
    """The identity on the embeddings; in backward, hands on what has been added up in the leaves."""

    @staticmethod
    def forward(ctx: Any, embeds: Tensor, leaves: list[Tensor], *factors: Tensor) -> Tensor:
        ctx.leaves = leaves
        return embeds.view_as(embeds)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        sums = [leaf.grad for leaf in ctx.leaves]
        if all(total is None for total in sums):
            raise RuntimeError("with gradient checkpointing, generated factors get gradients from .backward() only")
        for leaf in ctx.leaves:
            leaf.grad = None  # a second backward starts from nothing
        return grad, None, *sums


def tie_state_to_forward(model: nn.Module, slot: StateSlot) -> list[RemovableHandle]:
    """Register the two hooks on `model`'s body; they do nothing unless checkpointing is on.

    Args:
        model: a causal language model; its body is `model.base_model`.
        slot: where the layers find the state.

    Returns:
        The handles that take the hooks away.
    """
    body = getattr(model, "base_model", model)

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
        state, embeds = slot.current, kwargs.get("inputs_embeds")
        if state is None or embeds is None or not _checkpoints(module):
            return None
        state = state.untied or state  # a second forward on the same factors gets leaves of its own
        made = state.made()
        wanted = [factor for factor in made if factor.requires_grad]
        if not wanted:
            return None
        copies = [factor.detach().requires_grad_(factor.requires_grad) for factor in made]
        slot.current = state.with_made(copies)
        leaves = [copy for copy in copies if copy.requires_grad]
        tied = _Tie.apply(embeds, leaves, *wanted)  # type: ignore[no-untyped-call]
        return args, {**kwargs, "inputs_embeds": tied}

    def after(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        state, hidden = slot.current, output[0]
        if state is not None and hidden.requires_grad and _checkpoints(module):
            hidden.register_hook(lambda grad: setattr(slot, "current", state))

    return [
        body.register_forward_pre_hook(before, with_kwargs=True),
        body.register_forward_hook(after, with_kwargs=True),
    ]


def _checkpoints(body: nn.Module) -> bool:
    return torch.is_grad_enabled() and any(getattr(part, "gradient_checkpointing", False) for part in body.modules())
