"""Vectors of the batch that are added inside the bottleneck at single tokens."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class BottleneckShift:
    """What `Shifted` sources add to their narrow product at some tokens of every sample.

    Attributes:
        vectors: (B, S, R), any float dtype.
        positions: the tokens (B, S) int64 in the padded input, -1 for none; vectors of one token add up.
    """

    vectors: Tensor
    positions: Tensor

    def added_to(self, product: Tensor) -> Tensor:
        """Return a narrow product (B, T, R) with the vectors added at their tokens.

        Raises:
            ValueError: the product has another number of samples, or another width.
        """
        expected = product.shape[0], product.shape[-1]
        if (self.vectors.shape[0], self.vectors.shape[-1]) != expected:
            raise ValueError(f"a shift {tuple(self.vectors.shape)} was given for a product {tuple(product.shape)}")
        places = one_hot(self.positions, product.shape[1]).to(product.dtype)  # (B, T, S)
        return torch.baddbmm(product, places, self.vectors.to(product.dtype))

    def window(self, rows: int, begin: int, end: int) -> "BottleneckShift":
        """Return what is added to tokens `begin` to `end` of the first samples."""
        places = self.positions[:rows]
        inside = (places >= begin) & (places < end)
        return BottleneckShift(self.vectors[:rows], torch.where(inside, places - begin, -1))


def one_hot(positions: Tensor, tokens: int) -> Tensor:
    """Return which of a sample's tokens each of its vectors belongs to.

    A product with it puts vectors in their places in a fixed order, and the host need not know how many there are.

    Args:
        positions: (B, S) int64, -1 for none.
        tokens: T.

    Returns:
        (B, T, S) bool.
    """
    return positions.unsqueeze(1) == torch.arange(tokens, device=positions.device).unsqueeze(-1)
