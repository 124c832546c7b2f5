"""Inserts soft-token vectors into the input embeddings of all rows at once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from recsys_lora.llm.backbone import Backbone
from recsys_lora.lowrank.shift import one_hot
from recsys_lora.utils.errors import UserError

SIDES = ("user", "item")
"""The soft tokens of a prompt about one user and one item."""
_TOKENS = 2048
"""Number of tokens, from the start of the vocabulary, whose embeddings are measured."""


def place_soft_tokens(embeds: Tensor, positions: Tensor, vectors: Tensor) -> Tensor:
    """Insert vectors at the positions of the soft tokens.

    Args:
        embeds: input embeddings (B, T, H).
        positions: positions of each row's soft tokens (B, S), -1 where a row has fewer.
        vectors: vectors of the soft tokens (B, S, H); arbitrary numbers where the position is -1.

    Returns:
        New embeddings (B, T, H), through which gradients reach `vectors`.
    """
    places = one_hot(positions, embeds.shape[1])  # (B, T, S)
    placed = torch.bmm(places.to(embeds.dtype), vectors.to(embeds.dtype))  # (B, T, H), exact: one nonzero term
    return torch.where(places.any(-1, keepdim=True), placed, embeds)


def soft_columns(sequence: Sequence[tuple[str, int]], known: Sequence[str]) -> list[int]:
    """Return which vector fills each soft token of a prompt.

    Args:
        sequence: the prompt's soft tokens in order, each with the number of its candidate.
        known: names of the vectors, in order. For `SIDES` there is one vector of the user, then one for each candidate;
            others are the same for all candidates.

    Raises:
        UserError: the prompt has no soft tokens, or one with another name.
    """
    marks = ", ".join(f"<{name}>" for name in known)
    if not sequence:
        raise UserError(f"model.prompt has no soft tokens: put {marks} into its texts and their names in soft_tokens")
    if unknown := [name for name, _ in sequence if name not in known]:
        raise UserError(f"model.prompt: nothing fills the soft token <{unknown[0]}>: choose from {marks}")
    of_each = tuple(known) == SIDES
    return [
        list(known).index(name) + (candidate if of_each and name == SIDES[1] else 0) for name, candidate in sequence
    ]


def token_std(backbone: Backbone) -> float:
    """Return the standard deviation of the entries of the backbone's input embeddings, over its first tokens."""
    vocabulary = backbone.model.get_input_embeddings().weight.shape[0]
    ids = torch.arange(min(vocabulary, _TOKENS), device=backbone.device)
    with torch.no_grad():
        return float(backbone.embed(ids.unsqueeze(0)).float().std())
