"""Prompts that begin alike, read together: what they begin with once, with a key-value cache, and then each one's rest.

Prompts of one user about several items share instruction and history; they part at the first candidate's title. A
causal model's states of the shared part depend on nothing that follows, so the states are those of reading in full.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from recsys_lora.llm.backbone import Backbone

RELATIVE, ABSOLUTE = 1e-5, 1e-6
"""How far entries of one vector may lie apart where it was made in two rows of a batch: the rounding of float32."""


def shared_length(embeds: Tensor, lengths: Tensor) -> int:
    """Return how many input vectors all prompts have in common at their beginning, leaving each at least its last.

    Args:
        embeds: input embeddings, soft tokens in their places, padded on the right (B, T, H).
        lengths: vectors of each prompt (B,).
    """
    shortest = int(lengths.min())
    first = embeds[:1, : shortest - 1]  # (1, L, H)
    size = ABSOLUTE * float(first.abs().max()) if first.numel() else 0.0
    equal = torch.isclose(embeds[:, : shortest - 1], first, rtol=RELATIVE, atol=size).all(-1).all(0)  # (L,)
    return int(equal.long().cumprod(0).sum())


@torch.no_grad()
def last_states(
    backbone: Backbone, embeds: Tensor, lengths: Tensor, rows: Callable[[int], None] | None = None
) -> Tensor:
    """Return the last hidden state of each prompt; what all begin with is read once.

    Args:
        backbone: the language model, in evaluation mode.
        embeds: the prompts' input embeddings, padded on the right (B, T, H).
        lengths: vectors of each prompt (B,).
        rows: called with 1 before the shared part and with B before the rest: whoever conditions low-rank layers on
            the batch gives them the factors of so many prompts.

    Returns:
        (B, H), those of `Backbone.hidden` up to rounding.
    """
    B, T = embeds.shape[:2]
    mask = torch.arange(T, device=embeds.device) < lengths[:, None]  # (B, T)
    shared = shared_length(embeds, lengths) if B > 1 else 0
    if not shared:
        return backbone.last(backbone.hidden(embeds, mask), mask)
    if rows is not None:
        rows(1)
    _, cache = backbone.continued(embeds[:1, :shared], mask[:1, :shared])
    if rows is not None:
        rows(B)
    cache.batch_repeat_interleave(B)
    hidden, _ = backbone.continued(embeds[:, shared:], mask, cache)  # (B, T - shared, H)
    return backbone.last(hidden, mask[:, shared:])
