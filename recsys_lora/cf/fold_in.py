"""e_u of a user who does not occur in train, from the items of the history: a linear map fitted on known users.

    x_h = sum over the history's items of (v_i - mean v)  /  (items + 10)
    e_u = mean u + x_h W,        W = argmin over known users of |u - mean u - x W|^2 + ridge |W|^2

v are the item vectors, u the known users' own vectors, x those from their positive train rows. An empty history gives
the mean. Chosen on ML-1M's validation rows, 3,686 of 10,401 of which are of users who do not occur in train: a Bayesian
fold-in with the mean as its prior and the scaled mean of the items do no better (docs/floor.md).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recsys_lora.cf.encoder import Catalogue
from recsys_lora.cf.inference import Kept

PSEUDO_ITEMS = 10.0
"""How many average items are added to each history, so that short ones move e_u little."""
RIDGE = 1.0
"""The ridge over the mean eigenvalue of the known users' x^T x."""


class FoldIn(nn.Module):
    """The map from histories to user vectors; it has no parameters and is fitted to the tables that it is given."""

    user: Tensor
    item: Tensor
    seen_items: Tensor

    def __init__(self, catalogue: Catalogue) -> None:
        """Read the positive train rows."""
        super().__init__()
        self.largest_user = catalogue.num_users
        self.register_buffer("user", catalogue.train_user, persistent=False)
        self.register_buffer("item", catalogue.train_item, persistent=False)
        self.register_buffer("seen_items", catalogue.seen_items, persistent=False)
        self._kept: Kept[tuple[Tensor, Tensor]] = Kept()

    def grow(self, users: int, items: int) -> None:
        """Make room for more users and items, which do not occur in train."""
        self.largest_user += users
        self.seen_items = functional.pad(self.seen_items, (0, items))
        self._kept.forget()

    def forward(self, users: Tensor, items: Tensor, seen_users: Tensor, history: Tensor) -> Tensor:
        """Return e_u - mean u (B, D) of histories (B, L), padded with 0; zero if a history has no known item.

        Args:
            users: the users' vectors (U+1, D).
            items: the items' vectors (N+1, D).
            seen_users: which users occur in train (U+1,) bool.
            history: (B, L).
        """
        mean, weights = self._map(users, items, seen_users)
        known = torch.where(self.seen_items[history], history, 0)
        count = (known != 0).sum(1, keepdim=True)  # (B, 1)
        total = functional.embedding_bag(known, items, mode="sum", padding_idx=0)  # (B, D)
        vectors: Tensor = (total - count * mean) / (count + PSEUDO_ITEMS) @ weights
        return vectors

    def _map(self, users: Tensor, items: Tensor, seen_users: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean item (D,) and W (D, D); in evaluation mode, they are cached until the tables change."""
        tables = users.detach(), items.detach()
        if self.training:
            return self._fitted(*tables, seen_users)
        made: tuple[Tensor, Tensor] = self._kept(tables, lambda: self._fitted(*tables, seen_users))
        return made

    def _fitted(self, users: Tensor, items: Tensor, seen_users: Tensor) -> tuple[Tensor, Tensor]:
        wide, seen = items.double(), self.seen_items
        mean = wide[seen].mean(0)  # (D,)
        count = torch.bincount(self.user, minlength=self.largest_user + 1)  # (U+1,)
        total = wide.new_zeros(len(count), wide.shape[1]).index_add_(0, self.user, wide[self.item] - mean)
        x = (total / (count + PSEUDO_ITEMS).unsqueeze(1))[count > 0]  # (n, D)
        y = users.double()[count > 0] - users.double()[seen_users].mean(0)
        square = x.T @ x
        ridge = RIDGE * square.diagonal().mean().clamp(min=torch.finfo(torch.float64).tiny)
        weights = torch.linalg.solve(square + ridge * torch.eye(len(square), device=x.device), x.T @ y)
        return mean.to(items.dtype), weights.to(items.dtype)
