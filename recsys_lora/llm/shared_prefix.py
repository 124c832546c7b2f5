"""Prompts that begin alike, read together: what they begin with once, with a key-value cache, and then each one's rest.

Prompts of one user about several items share instruction and history; they part at the first candidate's title. A
causal model's states of the shared part depend on nothing that follows, so the states are those of reading in full.
Where low-rank layers do to some tokens what is their own prompt's alone, the shared part ends before the first of them.
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
    backbone: Backbone,
    embeds: Tensor,
    lengths: Tensor,
    alike: int,
    window: Callable[[int, int, int], None] | None = None,
) -> Tensor:
    """Return the last hidden state of each prompt; what all begin with is read once.

    Args:
        backbone: the language model, in evaluation mode.
        embeds: the prompts' input embeddings, padded on the right (B, T, H).
        lengths: vectors of each prompt (B,).
        alike: how many tokens at the beginning the model treats alike in all prompts, where they are equal; 0 reads
            the prompts in full.
        window: called with (rows, begin, end) before tokens `begin` to `end` of the first `rows` prompts are read:
            whoever conditions low-rank layers on the batch gives them what they need for these.

    Returns:
        (B, H), those of `Backbone.hidden` up to rounding.
    """
    B, T = embeds.shape[:2]
    mask = torch.arange(T, device=embeds.device) < lengths[:, None]  # (B, T)
    shared = min(alike, shared_length(embeds, lengths)) if B > 1 else 0
    if not shared:
        return backbone.last(backbone.hidden(embeds, mask), mask)
    if window is not None:
        window(1, 0, shared)
    _, cache = backbone.continued(embeds[:1, :shared], mask[:1, :shared])
    if window is not None:
        window(B, shared, T)
    cache.batch_repeat_interleave(B)
    hidden, _ = backbone.continued(embeds[:, shared:], mask, cache)  # (B, T - shared, H)
    return backbone.last(hidden, mask[:, shared:])
