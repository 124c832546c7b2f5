"""Tables of id vectors in which ids that never occur in train have a chosen value, not a random one.

With L2 in the gradient the rows of unseen ids shrink to zero by themselves; with decoupled or sparse updates they would
keep their random initial values and feed noise to whatever reads them. Here they start at zero, never get a gradient,
and so stay there; `unseen="mean"` replaces them with the mean of the seen rows when read, and `unseen="history"`
computes those of users from their histories (`fold_in.py`).
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Unseen = Literal["zero", "mean"]
UnseenUsers = Literal["zero", "mean", "history"]
"""The same for encoders that can compute e_u from a history; a user without one gets the mean."""
UNKNOWN = -1
"""The id of a user or item outside the data set; it has the vector of ids that never occur in train."""


def of_items(unseen: UnseenUsers) -> Unseen:
    """Return the setting for items that never occur in train, which have no history."""
    return "mean" if unseen == "history" else unseen


def is_unseen(seen: Tensor, ids: Tensor) -> Tensor:
    """Return which ids (...) never occur in train, including `UNKNOWN`, but not 0, the padding.

    Args:
        seen: which ids occur in train (n,) bool.
        ids: (...).
    """
    return ~seen[ids.clamp(min=0)] & (ids != 0)


def look_up(table: Tensor, seen: Tensor, ids: Tensor, unseen: Unseen) -> Tensor:
    """Return the vectors (..., D) of ids.

    Args:
        table: the vectors of all ids (n, D); rows of unseen ids and the padding's row 0 are zero.
        seen: which ids occur in train (n,) bool.
        ids: (...); 0 is padding and gets zeros, `UNKNOWN` is unseen.
        unseen: "zero" gives zeros to ids that never occur in train, "mean" the mean of the seen rows.
    """
    vectors = functional.embedding(ids.clamp(min=0), table, padding_idx=0)
    if unseen == "zero":
        return vectors
    mean = table.sum(0) / seen.sum().clamp(min=1)  # (D,)
    return vectors + is_unseen(seen, ids).unsqueeze(-1) * mean


class IdTable(nn.Module):
    """A learned vector for every id seen in train, a fixed default for the others, zero for padding."""

    seen: Tensor

    def __init__(self, seen: Tensor, dim: int, init_std: float, unseen: Unseen = "zero", kept: bool = False) -> None:
        """Draw the rows of seen ids.

        Args:
            seen: which ids occur in train (n,) bool; entry 0, the padding, is False.
            dim: width D of a row.
            init_std: standard deviation of the normal draw; 0 starts at zeros.
            unseen: the default of other ids.
            kept: whether checkpoints include `seen`.
        """
        super().__init__()
        self.unseen = unseen
        self.register_buffer("seen", seen.clone(), persistent=kept)
        self.weight = nn.Parameter(torch.randn(len(seen), dim) * init_std * seen.unsqueeze(-1))  # (n, D)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the vectors (..., D) of ids (...)."""
        return look_up(self.weight, self.seen, ids, self.unseen)

    def grow(self, count: int) -> None:
        """Make room for `count` more ids after the last one; none of them is seen."""
        weight = functional.pad(self.weight.detach(), (0, 0, 0, count))
        self.weight = nn.Parameter(weight, requires_grad=self.weight.requires_grad)
        self.seen = functional.pad(self.seen, (0, count))

    def all(self) -> Tensor:
        """Return the vectors of every id (n, D)."""
        return self(torch.arange(len(self.weight), device=self.weight.device))  # type: ignore[no-any-return]
