"""Vectors in the places of a prompt's soft tokens, for all rows at once."""

from torch import Tensor


def place_soft_tokens(embeds: Tensor, positions: Tensor, vectors: Tensor) -> Tensor:
    """Put vectors where the soft tokens stand.

    Args:
        embeds: input embeddings (B, T, H).
        positions: places of each row's soft tokens (B, S), -1 where a row has fewer.
        vectors: what stands there (B, S, H); where the position is -1, anything.

    Returns:
        New embeddings (B, T, H), through which gradients reach `vectors`.
    """
    row, column = (positions >= 0).nonzero(as_tuple=True)
    return embeds.index_put((row, positions[row, column]), vectors[row, column].to(embeds.dtype))
