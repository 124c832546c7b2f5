"""Tables of id vectors in which ids that never occur in train have a value that was chosen, not left to chance.

With L2 in the gradient the rows of unseen ids shrink to zero by themselves; with decoupled or sparse updates they would
keep their random start and feed noise to whatever reads them. Here they start at zero, never get a gradient, and so
stay there; `unseen="mean"` replaces them by the mean of the seen rows when read.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Unseen = Literal["zero", "mean"]


def fill_unseen(vectors: Tensor, table: Tensor, seen: Tensor, ids: Tensor, default: Unseen) -> Tensor:
    """Give ids without training rows their default.

    Args:
        vectors: the ids' rows of `table` (..., D), zero where unseen.
        table: the whole table (n, D), zero rows where unseen.
        seen: which ids occur in train (n,) bool.
        ids: the ids (...); 0 is padding and stays zero.
        default: "zero" leaves zeros, "mean" puts the mean of the seen rows.
    """
    if default == "zero":
        return vectors
    mean = table.sum(0) / seen.sum().clamp(min=1)  # (D,)
    unknown = ~seen[ids] & (ids != 0)  # (...)
    return vectors + unknown.unsqueeze(-1) * mean


class IdTable(nn.Module):
    """A learned vector for every id seen in train, a fixed default for the others, zero for padding."""

    seen: Tensor

    def __init__(self, seen: Tensor, dim: int, init_std: float, unseen: Unseen = "zero") -> None:
        """Draw the rows of seen ids.

        Args:
            seen: which ids occur in train (n,) bool; entry 0, the padding, is False.
            dim: width D of a row.
            init_std: standard deviation of the normal draw.
            unseen: the default of other ids.
        """
        super().__init__()
        self.unseen = unseen
        self.register_buffer("seen", seen.clone(), persistent=False)
        self.weight = nn.Parameter(torch.randn(len(seen), dim) * init_std * seen.unsqueeze(-1))  # (n, D)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the vectors (..., D) of ids (...)."""
        return fill_unseen(
            functional.embedding(ids, self.weight, padding_idx=0), self.weight, self.seen, ids, self.unseen
        )

    def grow(self, count: int) -> None:
        """Make room for `count` more ids behind the last one; none of them is seen."""
        weight = functional.pad(self.weight.detach(), (0, 0, 0, count))
        self.weight = nn.Parameter(weight, requires_grad=self.weight.requires_grad)
        self.seen = functional.pad(self.seen, (0, count))

    def all(self) -> Tensor:
        """Return the vectors of every id (n, D)."""
        ids = torch.arange(len(self.weight), device=self.weight.device)
        return fill_unseen(self.weight, self.weight, self.seen, ids, self.unseen)
