"""SASRec (Kang & McAuley, ICDM 2018): causal self-attention over a user's last positives.

    x_t = sqrt(D) · item[h_t] + position[t]
    block:  q = LayerNorm(x);  y = LayerNorm(q + Attention(q, x, x));  x' = y + FFN(y)
    e_u = LayerNorm(x')[last],    s(u, i) = e_u · item[i]

The LayerNorm is on the query alone and the residual is the normalised query, as in the code behind the published
numbers. Only the last state is scored, so the last block computes only that one.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from recsys_lora.cf.dot import DotProductEncoder
from recsys_lora.cf.encoder import Catalogue
from recsys_lora.cf.table import IdTable, Unseen
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.types import PositiveFloat, PositiveInt, Probability

Padding = Literal["masked", "read"]


_LEVELS = 256


class ByteDropout(nn.Module):
    """Zeroes each entry with probability `p`, rounded to 1/256, and scales the others so that the mean stays the same.

    One random byte per entry is drawn: on a CPU, the usual draw costs more than SASRec's matrix products.
    """

    def __init__(self, p: float) -> None:
        """Set the rate, in [0, 1)."""
        super().__init__()
        self.dropped_levels = min(round(p * _LEVELS), _LEVELS - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return x (any shape) with entries dropped in training mode, x itself otherwise."""
        if not self.training or self.dropped_levels == 0:
            return x
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device).random_(-(2**63), None)
        kept = (words.view(torch.uint8)[: x.numel()] >= self.dropped_levels).view(x.shape)
        return x * (kept * (_LEVELS / (_LEVELS - self.dropped_levels)))


class Block(nn.Module):
    """Causal self-attention and a position-wise network."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        """Create the projections; `dropout` acts on attention weights and inside the network."""
        super().__init__()
        self.heads = heads
        self.dropout = ByteDropout(dropout)
        self.norm_query = nn.LayerNorm(dim, eps=1e-8)
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim, eps=1e-8)
        self.network = nn.Sequential(
            nn.Linear(dim, dim), ByteDropout(dropout), nn.ReLU(), nn.Linear(dim, dim), ByteDropout(dropout)
        )

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """Return the new states (B, Q, D) of the last Q positions.

        Args:
            x: states of all positions (B, L, D).
            visible: which positions each query may read (B, 1, Q, L) bool; every query reads at least one.
        """
        normed = self.norm_query(x[:, -visible.shape[2] :])  # (B, Q, D)
        query, key, value = self._split(self.query(normed)), self._split(self.key(x)), self._split(self.value(x))
        similarity = query @ key.transpose(2, 3) / math.sqrt(key.shape[-1])  # (B, heads, Q, L)
        weights = self.dropout(similarity.masked_fill(~visible, -torch.inf).softmax(-1))
        mixed = weights @ value  # (B, heads, Q, D / heads)
        y = self.norm(normed + self.out(mixed.transpose(1, 2).flatten(2)))
        states: Tensor = y + self.network(y)
        return states

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)  # (B, heads, L, D / heads)


class SASRec(DotProductEncoder):
    """Reads the history, not the user id: users may be unseen, and one without history gets a learned vector."""

    def __init__(
        self,
        catalogue: Catalogue,
        dim: PositiveInt = 64,
        history_length: PositiveInt = 25,
        blocks: PositiveInt = 2,
        heads: PositiveInt = 1,
        dropout: Probability = 0.2,
        init_std: PositiveFloat = 0.02,
        unseen: Unseen = "zero",
        padding: Padding = "masked",
    ) -> None:
        """Draw the tables from N(0, init_std^2).

        Args:
            catalogue: the data set's ids.
            dim: width D of the vectors.
            history_length: number L of latest positives that are read.
            blocks: how many attention blocks.
            heads: attention heads; they divide `dim`.
            dropout: on inputs, attention weights and in the position-wise network.
            init_std: standard deviation of the initial tables.
            unseen: vectors of items that never occur in train.
            padding: whether attention ignores the empty positions of a short history (`masked`) or reads them as zero
                vectors (`read`), as the code behind the published numbers does.

        Raises:
            UserError: the heads do not divide the width.
        """
        super().__init__(dim, history_length)
        if dim % heads:
            raise UserError(f"cf.encoder: dim={dim} cannot be divided among heads={heads}: choose a multiple")
        self.padding = padding
        self.items = IdTable(catalogue.seen_items, dim, init_std, unseen)
        self.position = nn.Parameter(torch.randn(history_length, dim) * init_std)
        self.dropout = ByteDropout(dropout)
        self.blocks = nn.ModuleList(Block(dim, heads, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(dim, eps=1e-8)

    def user_vectors(self, user: Tensor, history: Tensor) -> Tensor:
        """Return the last state (B, D) of each history (B, L); only its last `history_length` items are read."""
        history = history[:, -self.history_length :]
        L = history.shape[1]
        real = (history != 0).unsqueeze(-1)  # (B, L, 1)
        x = self.items(history) * math.sqrt(self.user_dim) + self.position[len(self.position) - L :]
        x = self.dropout(x) * real  # (B, L, D)
        visible = self._visible(history)  # (B, 1, L, L)
        for block in self.blocks[:-1]:
            x = block(x, visible) * real
        x = self.blocks[-1](x, visible[:, :, -1:]) * real[:, -1:]  # (B, 1, D)
        last: Tensor = self.norm(x[:, -1])
        return last

    def _visible(self, history: Tensor) -> Tensor:
        L = history.shape[1]
        causal = torch.ones(L, L, dtype=torch.bool, device=history.device).tril()
        if self.padding == "read":
            return causal.expand(len(history), 1, L, L)
        itself = torch.eye(L, dtype=torch.bool, device=history.device)  # padding reads itself, for a finite softmax
        return ((history != 0).unsqueeze(1) & causal | itself).unsqueeze(1)

    def item_vectors(self, item: Tensor) -> Tensor:
        """Return the items' rows (..., D)."""
        vectors: Tensor = self.items(item)
        return vectors

    def item_table(self) -> Tensor:
        """Return every item's row (N+1, D)."""
        return self.items.all()

    def grow(self, users: int, items: int) -> None:
        """Make room for more items; users have no table."""
        self.items.grow(items)
