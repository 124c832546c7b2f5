"""Prompts with a shared prefix: the prefix is read once, with a key-value cache, and then the rest of each prompt.

Prompts of one user about several items share instruction and history; they diverge at the first candidate's title. A
causal model's states of the prefix do not depend on what follows, so they are the same as when reading in full. If
low-rank layers treat some tokens differently in each prompt, the prefix ends before the first of these.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from recsys_lora.llm.backbone import Backbone

_RELATIVE, _ABSOLUTE = 1e-5, 1e-6
"""How far entries of one vector may differ when computed in two rows of a batch: the rounding of float32."""


def shared_length(embeds: Tensor, lengths: Tensor, first: Tensor) -> int:
    """Return how many input vectors all prompts have in common with `first`, leaving each at least its last.

    Args:
        embeds: input embeddings, soft tokens in their places, padded on the right (B, T, H).
        lengths: number of vectors of each prompt (B,).
        first: the prefix to compare with (1, L, H).
    """
    most = min(int(lengths.min()) - 1, first.shape[1])
    first = first[:, :most]
    size = _ABSOLUTE * float(first.abs().max()) if first.numel() else 0.0
    equal = torch.isclose(embeds[:, :most], first, rtol=_RELATIVE, atol=size).all(-1).all(0)  # (most,)
    return int(equal.long().cumprod(0).sum())


class SharedPrefix:
    """The shared prefix of the prompts of several batches.

    The first batch determines it; it is read again, shorter, if a later one shares less of it.

    Args:
        backbone: the language model, in evaluation mode.
        prompts: number of prompts in all batches; a single one is read in full.
    """

    def __init__(self, backbone: Backbone, prompts: int) -> None:
        self.backbone = backbone
        self.prompts = prompts
        self.embeds: Tensor | None = None  # (1, L, H), those in the cache
        self.cache: Any = None

    @torch.no_grad()
    def last_states(
        self,
        embeds: Tensor,
        lengths: Tensor,
        alike: int,
        window: Callable[[int, int, int], None] | None = None,
    ) -> Tensor:
        """Return the last hidden state of each prompt; the shared prefix is read once.

        Args:
            embeds: the prompts' input embeddings, padded on the right (B, T, H).
            lengths: number of vectors of each prompt (B,).
            alike: how many initial tokens the model treats alike in the prompts of all batches, if they are equal; 0
                reads these prompts in full.
            window: called with (rows, begin, end) before tokens `begin` to `end` of the first `rows` prompts are read,
                to condition low-rank layers on them.

        Returns:
            (B, H), the same as from `Backbone.hidden` up to rounding.
        """
        B, T = embeds.shape[:2]
        mask = torch.arange(T, device=embeds.device) < lengths[:, None]  # (B, T)
        first = embeds[:1] if self.embeds is None else self.embeds
        shared = min(alike, shared_length(embeds, lengths, first)) if self.prompts > 1 else 0
        if not shared:
            return self.backbone.last(self.backbone.hidden(embeds, mask, right=True), mask)
        if self.embeds is None or shared < self.embeds.shape[1]:
            if window is not None:
                window(1, 0, shared)
            self.embeds = embeds[:1, :shared]
            _, self.cache = self.backbone.forward_with_cache(self.embeds, mask[:1, :shared])
        if window is not None:
            window(B, shared, T)
        cache = copy.deepcopy(self.cache)  # reading further changes it
        cache.batch_repeat_interleave(B)
        hidden, _ = self.backbone.forward_with_cache(embeds[:, shared:], mask, cache)  # (B, T - shared, H)
        return self.backbone.last(hidden, mask[:, shared:])
