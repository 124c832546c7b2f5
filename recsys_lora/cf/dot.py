"""Encoders whose score comes from a dot product e_u · e_i: they score candidates and the whole catalogue cheaply."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from recsys_lora.cf.encoder import CollaborativeEncoder


def distinct(user: Tensor, history: Tensor) -> tuple[Tensor, Tensor]:
    """Find runs of rows with the same user and history, so that each run's e_u is computed once.

    Rows in a data set's order have such runs: a user's history does not change until the next positive.

    Args:
        user: (B,).
        history: (B, L).

    Returns:
        The first row of each run (n,), and each row's run (B,), so that `x[first][group]` equals `x`.
    """
    begins = torch.ones(len(user), dtype=torch.bool, device=user.device)
    begins[1:] = (user[1:] != user[:-1]) | (history[1:] != history[:-1]).any(1)
    return begins.nonzero().squeeze(1), begins.cumsum(0) - 1


class DotProductEncoder(CollaborativeEncoder, ABC):
    """Base of MF, binary MF, LightGCN and SASRec; a subclass provides the vectors."""

    def __init__(self, dim: int, history_length: int) -> None:
        """Set the width `dim` of both vectors and the number of history items that are read (0 for none)."""
        super().__init__()
        self.user_dim = dim
        self.item_dim = dim
        self.history_length = history_length

    @abstractmethod
    def user_vectors(self, user: Tensor, history: Tensor) -> Tensor:
        """Return e_u (B, D)."""

    @abstractmethod
    def item_vectors(self, item: Tensor) -> Tensor:
        """Return e_i (..., D) of items (...)."""

    @abstractmethod
    def item_table(self) -> Tensor:
        """Return every item's e_i (N+1, D)."""

    def encode(self, user: Tensor, history: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """Return (e_u (B, D), e_i (B, D))."""
        return self.user_vectors(user, history), self.item_vectors(item)

    def logits(self, products: Tensor, user: Tensor, items: Tensor) -> Tensor:
        """Return the scores of pairs; a subclass may scale the dot products, or add to them.

        Args:
            products: e_u · e_i (B, ...).
            user: (B,).
            items: (B, ...), or (1, ...) if all users have the same.
        """
        return products

    def score(self, user: Tensor, history: Tensor, item: Tensor) -> Tensor:
        """Return the logits (B,)."""
        first, group = distinct(user, history)
        e_u = self.user_vectors(user[first], history[first])[group]  # (B, D)
        return self.logits((e_u * self.item_vectors(item)).sum(-1), user, item)

    def score_candidates(self, user: Tensor, history: Tensor, items: Tensor) -> Tensor:
        """Return the logits (B, C) of `items` (B, C)."""
        products = (self.item_vectors(items) @ self.user_vectors(user, history).unsqueeze(-1)).squeeze(-1)
        return self.logits(products, user, items)

    def score_all(self, user: Tensor, history: Tensor) -> Tensor:
        """Return the logits (B, N+1) of every item; column 0 is padding and has no meaning."""
        products = self.user_vectors(user, history) @ self.item_table().T
        return self.logits(products, user, torch.arange(products.shape[1], device=user.device).unsqueeze(0))
