"""Matrix factorisation: s(u, i) = e_u · e_i, two tables; with biases, s(u, i) = mu + b_u + b_i + e_u · e_i.

Source: Koren, Bell and Volinsky, Matrix factorization techniques for recommender systems, Computer 2009. The benchmark
runs it without biases.
"""

import torch
from torch import Tensor, nn

from recsys_lora.cf.dot import DotProductEncoder
from recsys_lora.cf.encoder import Catalogue
from recsys_lora.cf.fold_in import FoldIn
from recsys_lora.cf.table import IdTable, UnseenUsers, is_unseen, of_items
from recsys_lora.utils.types import PositiveFloat, PositiveInt


class Biases(nn.Module):
    """mu + b_u + b_i, learned from zero; ids that never occur in train have none.

    The fit's weight decay shrinks them: on n rows, a decay of w counts as 4 w n rows with the average label.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        """Create a bias for every user and every item, and one for all."""
        super().__init__()
        self.overall = nn.Parameter(torch.zeros(()))
        self.users = IdTable(catalogue.seen_users, 1, 0.0)
        self.items = IdTable(catalogue.seen_items, 1, 0.0)

    def forward(self, user: Tensor, items: Tensor) -> Tensor:
        """Return the sum (B, ...) for users (B,) and their items (B, ...), or (1, ...) if all have the same."""
        own = self.users(user).view(-1, *[1] * (items.dim() - 1))  # (B, 1, ...)
        total: Tensor = self.overall + own + self.items(items).squeeze(-1)
        return total


class MF(DotProductEncoder):
    """Two id tables and optional biases; histories are read only for unseen users, and only with `unseen="history"`."""

    def __init__(
        self,
        catalogue: Catalogue,
        dim: PositiveInt = 256,
        init_std: PositiveFloat = 1.0,
        unseen: UnseenUsers = "zero",
        history_length: PositiveInt = 50,
        biases: bool = False,
    ) -> None:
        """Draw both tables from N(0, init_std^2).

        Args:
            catalogue: the data set's ids.
            dim: width D of the vectors.
            init_std: standard deviation of the initial tables; the benchmark starts at 1 and lets weight decay shrink
                it.
            unseen: vectors of ids that never occur in train; with "history", e_u of users is computed from their
                histories (`fold_in.py`), and e_i of items is the mean.
            history_length: how many of the latest positives are read for that.
            biases: add the biases of user and item to the score; e_u and e_i stay as they are.
        """
        super().__init__(dim, history_length=history_length if unseen == "history" else 0)
        self.users = IdTable(catalogue.seen_users, dim, init_std, of_items(unseen))
        self.items = IdTable(catalogue.seen_items, dim, init_std, of_items(unseen))
        self.fold_in = FoldIn(catalogue) if unseen == "history" else None
        self.biases = Biases(catalogue) if biases else None

    @property
    def fit_history_length(self) -> int:
        """Zero: all users of train rows are seen."""
        return 0

    def user_vectors(self, user: Tensor, history: Tensor) -> Tensor:
        """Return the users' rows (B, D); those of unseen users depend on `unseen`."""
        vectors: Tensor = self.users(user)
        if self.fold_in is None or not history.shape[1]:
            return vectors
        seen = self.users.seen
        own: Tensor = self.fold_in(self.users.weight, self.items.weight, seen, history[:, -self.history_length :])
        return vectors + is_unseen(seen, user).unsqueeze(-1) * own

    def item_vectors(self, item: Tensor) -> Tensor:
        """Return the items' rows (..., D)."""
        vectors: Tensor = self.items(item)
        return vectors

    def grow(self, users: int, items: int) -> None:
        """Make room for more users and items."""
        self.users.grow(users)
        self.items.grow(items)
        if self.fold_in is not None:
            self.fold_in.grow(users, items)
        if self.biases is not None:
            self.biases.users.grow(users)
            self.biases.items.grow(items)

    def item_table(self) -> Tensor:
        """Return every item's row (N+1, D)."""
        return self.items.all()

    def logits(self, products: Tensor, user: Tensor, items: Tensor) -> Tensor:
        """Return the dot products, plus the biases if the model has them."""
        if self.biases is None:
            return products
        logits: Tensor = products + self.biases(user, items)
        return logits
