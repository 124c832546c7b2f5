"""DIN (Zhou et al., KDD 2018): the target item attends over the user's history.

    w_t = MLP_64-16-1([q, h_t, q - h_t, q * h_t]),    a = sum_t w_t h_t        (no softmax, padding weighs 0)
    e_u = [q ; a ; user],    e_i = [q ; q ; q],    s = MLP_200-80-1(e_u)

q is the target's row of the item table, h_t a row of the history's own table. e_u depends on the target.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from recsys_lora.cf.encoder import Catalogue, CollaborativeEncoder
from recsys_lora.cf.table import IdTable, Unseen
from recsys_lora.utils.types import PositiveFloat, PositiveInt, Probability


class Dice(nn.Module):
    """The activation p(x) x + (1 - p(x)) alpha x with p the sigmoid of the batch-normalised x, alpha learned."""

    def __init__(self, width: int) -> None:
        """Start alpha at 0."""
        super().__init__()
        self.norm = nn.BatchNorm1d(width, eps=1e-8, affine=False)
        self.alpha = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation of x (n, width)."""
        p = torch.sigmoid(self.norm(x))
        return x * (p + self.alpha * (1 - p))


def _mlp(sizes: Sequence[int], dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), Dice(after), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], 1))


class DIN(CollaborativeEncoder):
    """User id, target item and history through target attention."""

    def __init__(
        self,
        catalogue: Catalogue,
        dim: PositiveInt = 64,
        history_length: PositiveInt = 10,
        attention_sizes: Sequence[PositiveInt] = (64, 16),
        sizes: Sequence[PositiveInt] = (200, 80),
        dropout: Probability = 0.2,
        init_std: PositiveFloat = 0.02,
        unseen: Unseen = "zero",
    ) -> None:
        """Draw the tables from N(0, init_std^2).

        Args:
            catalogue: the data set's ids.
            dim: width D of a field; e_u and e_i are three fields wide.
            history_length: number L of latest positives that are read.
            attention_sizes: hidden widths of the network that weighs the history.
            sizes: hidden widths of the network that scores.
            dropout: in the scoring network.
            init_std: standard deviation of the initial tables.
            unseen: vectors of ids that never occur in train.
        """
        super().__init__()
        self.user_dim = self.item_dim = 3 * dim
        self.history_length = history_length
        self.users = IdTable(catalogue.seen_users, dim, init_std, unseen)
        self.items = IdTable(catalogue.seen_items, dim, init_std, unseen)
        self.history_items = IdTable(catalogue.seen_items, dim, init_std, unseen)
        self.attention = _mlp([4 * dim, *attention_sizes], 0.0)
        self.network = _mlp([3 * dim, *sizes], dropout)

    def encode(self, user: Tensor, history: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """Return (e_u, e_i), each (B, 3 D)."""
        target = self.items(item)  # (B, D)
        interest = self._interest(target, history)
        return torch.cat([target, interest, self.users(user)], -1), torch.cat([target] * 3, -1)

    def _interest(self, target: Tensor, history: Tensor) -> Tensor:
        history = history[:, -self.history_length :]
        h = self.history_items(history)  # (B, L, D)
        q = target.unsqueeze(1).expand_as(h)
        pairs = torch.cat([q, h, q - h, q * h], -1)  # (B, L, 4 D)
        weight = self.attention(pairs.flatten(0, 1)).view(history.shape)  # (B, L)
        return torch.einsum("bl,bld->bd", weight * (history != 0), h)

    def score(self, user: Tensor, history: Tensor, item: Tensor) -> Tensor:
        """Return the logits (B,)."""
        e_u, _ = self.encode(user, history, item)
        logits: Tensor = self.network(e_u).squeeze(-1)
        return logits

    def score_candidates(self, user: Tensor, history: Tensor, items: Tensor) -> Tensor:
        """Return the logits (B, C) of `items` (B, C); each pair runs through the whole model."""
        C = items.shape[1]
        rows = self.score(user.repeat_interleave(C), history.repeat_interleave(C, 0), items.flatten())
        return rows.view(items.shape)

    def grow(self, users: int, items: int) -> None:
        """Make room for more users and items."""
        self.users.grow(users)
        self.items.grow(items)
        self.history_items.grow(items)
