"""Matrix factorisation: s(u, i) = e_u · e_i, two tables, no bias (Koren et al., 2009; as the benchmark runs it)."""

from torch import Tensor

from recsys_lora.cf.dot import DotProductEncoder
from recsys_lora.cf.encoder import Catalogue
from recsys_lora.cf.table import IdTable, Unseen
from recsys_lora.types import PositiveFloat, PositiveInt


class MF(DotProductEncoder):
    """Two id tables; it reads no history."""

    def __init__(
        self, catalogue: Catalogue, dim: PositiveInt = 256, init_std: PositiveFloat = 1.0, unseen: Unseen = "zero"
    ) -> None:
        """Draw both tables from N(0, init_std^2).

        Args:
            catalogue: the data set's ids.
            dim: width D of the vectors.
            init_std: standard deviation of the start; the benchmark starts at 1 and lets weight decay shrink it.
            unseen: vectors of ids that never occur in train.
        """
        super().__init__(dim, history_length=0)
        self.users = IdTable(catalogue.seen_users, dim, init_std, unseen)
        self.items = IdTable(catalogue.seen_items, dim, init_std, unseen)

    def user_vectors(self, user: Tensor, history: Tensor) -> Tensor:
        """Return the users' rows (B, D)."""
        vectors: Tensor = self.users(user)
        return vectors

    def item_vectors(self, item: Tensor) -> Tensor:
        """Return the items' rows (..., D)."""
        vectors: Tensor = self.items(item)
        return vectors

    def grow(self, users: int, items: int) -> None:
        """Make room for more users and items."""
        self.users.grow(users)
        self.items.grow(items)

    def item_table(self) -> Tensor:
        """Return every item's row (N+1, D)."""
        return self.items.all()
