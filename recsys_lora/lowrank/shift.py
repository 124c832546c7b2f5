"""Vectors of the batch that are added inside the bottleneck at single tokens."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Shift:
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
        row, column = (self.positions >= 0).nonzero(as_tuple=True)
        places = row, self.positions[row, column]
        return product.index_put(places, self.vectors[row, column].to(product.dtype), accumulate=True)

    def window(self, rows: int, begin: int, end: int) -> "Shift":
        """Return what is added to tokens `begin` to `end` of the first samples."""
        places = self.positions[:rows]
        inside = (places >= begin) & (places < end)
        return Shift(self.vectors[:rows], torch.where(inside, places - begin, -1))
