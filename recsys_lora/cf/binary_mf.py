"""Matrix factorisation whose vectors are binary codes, which BinLLM writes into prompts.

    z = tanh(W x + b)                 of the id's row x; users and items have a W and b each (D,)
    h = sign(z), with sign(0) = 1     the code, entries -1 or 1
    s = h_u · h_i / sqrt(D)

Source: BinLLM, ACL 2024, arXiv 2406.03210 (text-like encoding), and the authors' public code for how it is trained:
each entry of z is replaced by that of h with a probability that grows with training, and the gradient passes through
the sign as if it were not there (straight-through estimator; Bengio et al., 2013, arXiv 1308.3432).

The authors do not divide by sqrt(D) (`scaled=False`). By default, all entries become binary within one fit of minutes,
and their logits would reach +-D: on ML-100K the training loss then rose from .6 to 1.9.
"""

from typing import Any

import torch
from torch import Tensor, nn

from recsys_lora.cf.dot import DotProductEncoder
from recsys_lora.cf.encoder import Catalogue
from recsys_lora.cf.table import IdTable, Unseen
from recsys_lora.utils.types import PositiveFloat, PositiveInt


class _StraightThrough(torch.autograd.Function):
    """The sign, with the gradient of the identity."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def sign(x: Tensor) -> Tensor:
    """Return 1 where x >= 0 and -1 elsewhere, in x's shape and type; the gradient passes as if it were x."""
    binary: Tensor = _StraightThrough.apply(x)  # type: ignore[no-untyped-call]
    return binary


class BinaryMF(DotProductEncoder):
    """Two id tables, two projections, binary codes; it reads no history.

    In evaluation mode every vector is a code. In training mode a share of the entries is binary, which grows from none
    to all over `ramp_steps` scorings.

    Attributes:
        scorings: how often users were encoded in training mode, ().
    """

    scorings: Tensor

    def __init__(
        self,
        catalogue: Catalogue,
        dim: PositiveInt = 32,
        init_std: PositiveFloat = 1.0,
        ramp_steps: PositiveInt = 2000,
        unseen: Unseen = "zero",
        scaled: bool = True,
    ) -> None:
        """Draw both tables from N(0, init_std^2); the projections' biases start at zero.

        Args:
            catalogue: the data set's ids.
            dim: bits D of a code.
            init_std: standard deviation of the initial tables.
            ramp_steps: training steps until all entries are binary.
            unseen: the row x of ids that never occur in train; with "zero", these ids and the padding have the code
                sign(b), the bits of the projection's bias, one code for all such users and one for all such items; with
                "mean", they have the code of the mean row of the others, and the padding still has sign(b).
            scaled: divide logits by the square root of D.
        """
        super().__init__(dim, history_length=0)
        self.ramp_steps = ramp_steps
        self.scale: float = dim**-0.5 if scaled else 1.0
        self.users = IdTable(catalogue.seen_users, dim, init_std, unseen)
        self.items = IdTable(catalogue.seen_items, dim, init_std, unseen)
        self.user_projection = nn.Linear(dim, dim)
        self.item_projection = nn.Linear(dim, dim)
        for projection in (self.user_projection, self.item_projection):
            nn.init.zeros_(projection.bias)
        self.register_buffer("scorings", torch.zeros((), dtype=torch.int64))

    @property
    def binary_share(self) -> Tensor:
        """The share of entries that is binary in training mode now, from 0 to 1: ()."""
        return (self.scorings / self.ramp_steps).clamp(max=1.0)

    def user_vectors(self, user: Tensor, history: Tensor) -> Tensor:
        """Return the users' codes (B, D); in training mode this counts as a step of the ramp."""
        vectors = self._codes(self.user_projection(self.users(user)))
        if self.training:
            self.scorings += 1
        return vectors

    def item_vectors(self, item: Tensor) -> Tensor:
        """Return the items' codes (..., D)."""
        return self._codes(self.item_projection(self.items(item)))

    def item_table(self) -> Tensor:
        """Return every item's code (N+1, D)."""
        return self._codes(self.item_projection(self.items.all()))

    def grow(self, users: int, items: int) -> None:
        """Make room for more users and items."""
        self.users.grow(users)
        self.items.grow(items)

    def logits(self, products: Tensor, user: Tensor, items: Tensor) -> Tensor:
        """Return h_u · h_i / sqrt(D)."""
        return products * self.scale

    def _codes(self, projected: Tensor) -> Tensor:
        soft = projected.tanh()
        if not self.training:
            return sign(soft)
        chosen = torch.rand_like(soft) < self.binary_share
        return torch.where(chosen, sign(soft), soft)
