"""A user's history, several vectors, becomes one."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from recsys_lora.methods.vectors import mean_of_present


class AttentionPooling(nn.Module):
    """Self-attention among a history's items, an MLP, and the mean: the variant that CKF's code builds and never uses.

    Args:
        dim: D.
        hidden: widths of the MLP's hidden layers, with ReLU behind each.
    """

    def __init__(self, dim: int, hidden: Sequence[int] = (32, 64)) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        layers: list[nn.Module] = []
        for before, after in pairwise([dim, *hidden]):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.mlp = nn.Sequential(*layers, nn.Linear([dim, *hidden][-1], dim))

    def forward(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Return p_u (B, D) from vectors (B, L, D); see `mean_of_present`."""
        # Padding attends to itself, so that no row of weights is empty; the mean leaves it out.
        own = torch.eye(vectors.shape[1], dtype=torch.bool, device=vectors.device)
        seen = present.unsqueeze(1) | own  # (B, L, L)
        mixed = functional.scaled_dot_product_attention(
            self.query(vectors), self.key(vectors), self.value(vectors), attn_mask=seen
        )
        return mean_of_present(self.mlp(mixed), present)
