"""The interface of collaborative encoders: a row's user, history and item become two vectors and a score.

Rows are given as integer tensors: `user` (B,), `item` (B,), both from 1 with 0 for padding and -1 (`table.UNKNOWN`) for
users and items outside the data set, and `history` (B, L), the user's last positively rated items, oldest first, padded
with 0 on the left. An encoder that does not read histories declares `history_length = 0` and ignores the tensor (which
may have any width, even zero).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from recsys_lora.data.prepared import PreparedData
from recsys_lora.utils.errors import UserError


@dataclass(frozen=True)
class Catalogue:
    """What an encoder must know about the data before it sees a row.

    Attributes:
        num_users: largest user id U; ids run from 1, 0 is padding.
        num_items: largest item id N; likewise.
        train_user: users of the positive train rows, the edges of the interaction graph (E,).
        train_item: their items (E,).
        seen_users: which user ids occur in train, with any label (U+1,) bool; 0 does not.
        seen_items: which item ids do (N+1,) bool.
    """

    num_users: int
    num_items: int
    train_user: Tensor
    train_item: Tensor
    seen_users: Tensor
    seen_items: Tensor

    @classmethod
    def from_prepared(cls, data: PreparedData) -> "Catalogue":
        """Read the train rows of a prepared data set."""
        rows = data.rows("train")
        positive = rows.label > 0.5
        return cls(
            num_users=data.num_users,
            num_items=data.num_items,
            train_user=torch.from_numpy(rows.user[positive].astype(np.int64)),
            train_item=torch.from_numpy(rows.item[positive].astype(np.int64)),
            seen_users=_occurring(rows.user, data.num_users),
            seen_items=_occurring(rows.item, data.num_items),
        )


def _occurring(ids: np.ndarray[Any, np.dtype[np.int64]], largest: int) -> Tensor:
    seen = np.zeros(largest + 1, dtype=bool)
    seen[ids] = True
    return torch.from_numpy(seen)


class CollaborativeEncoder(nn.Module):
    """A collaborative filtering model, as all other packages see it.

    Attributes:
        user_dim: width of e_u.
        item_dim: width of e_i.
        history_length: how many items of history the model reads; 0 for none.
    """

    user_dim: int
    item_dim: int
    history_length: int

    @property
    def fit_history_length(self) -> int:
        """How many items of history it reads while it is fitted: none if it reads only unseen users' histories."""
        return self.history_length

    def encode(self, user: Tensor, history: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """Return (e_u (B, user_dim), e_i (B, item_dim)) of the rows; e_u may depend on the item."""
        raise NotImplementedError

    def score(self, user: Tensor, history: Tensor, item: Tensor) -> Tensor:
        """Return the rows' logits (B,)."""
        raise NotImplementedError

    def score_candidates(self, user: Tensor, history: Tensor, items: Tensor) -> Tensor:
        """Return the logits (B, C) of several items per user, `items` (B, C)."""
        raise NotImplementedError

    def grow(self, users: int, items: int) -> None:
        """Make room, in place, for this many more users and items after the last ones; all of them are unseen.

        Raises:
            UserError: the encoder does not implement it.
        """
        raise UserError(
            f"{type(self).__name__} makes no room for users and items that come later: give it grow(users, items), as "
            "docs/adding_a_cf_encoder.md says"
        )


@runtime_checkable
class CatalogueScorer(Protocol):
    """An encoder that also scores the whole catalogue cheaply."""

    def score_all(self, user: Tensor, history: Tensor) -> Tensor:
        """Return the logits (B, N+1) of every item; column 0 is padding and has no meaning."""


EncoderFactory = Callable[[Catalogue], CollaborativeEncoder]
"""Makes an untrained encoder for a data set: a class with its settings bound, as by a `_partial_` config node."""
