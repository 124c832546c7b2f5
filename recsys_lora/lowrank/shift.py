"""Vectors of the batch, added inside the bottleneck at single tokens."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class BottleneckShift:
    """The vectors that `Shifted` sources add to their low-rank product at some tokens of every sample.

    Attributes:
        vectors: (B, S, R), any float dtype.
        positions: the tokens (B, S) int64 in the padded input, -1 for none; vectors at one token are summed.
    """

    vectors: Tensor
    positions: Tensor

    def added_to(self, product: Tensor) -> Tensor:
        """Return a low-rank product (B, T, R) with the vectors added at their tokens.

        Raises:
            ValueError: the product has a different number of samples or width.
        """
        expected = product.shape[0], product.shape[-1]
        if (self.vectors.shape[0], self.vectors.shape[-1]) != expected:
            raise ValueError(f"a shift {tuple(self.vectors.shape)} was given for a product {tuple(product.shape)}")
        places = one_hot(self.positions, product.shape[1]).to(product.dtype)  # (B, T, S)
        return torch.baddbmm(product, places, self.vectors.to(product.dtype))

    def window(self, rows: int, begin: int, end: int) -> "BottleneckShift":
        """Return the shift of tokens `begin` to `end` of the first `rows` samples."""
        places = self.positions[:rows]
        inside = (places >= begin) & (places < end)
        return BottleneckShift(self.vectors[:rows], torch.where(inside, places - begin, -1))


def one_hot(positions: Tensor, tokens: int) -> Tensor:
    """Return which of a sample's tokens each of its vectors belongs to, one-hot encoded.

    A product with it places vectors in a fixed order of summation, and the host need not know how many there are.

    Args:
        positions: (B, S) int64, -1 for none.
        tokens: T.

    Returns:
        (B, T, S) bool.
    """
    return positions.unsqueeze(1) == torch.arange(tokens, device=positions.device).unsqueeze(-1)
