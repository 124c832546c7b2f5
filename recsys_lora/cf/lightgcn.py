"""LightGCN (He et al., SIGIR 2020): vectors smoothed over the graph of users and the items they liked.

    E_{k+1} = D^-1/2 A D^-1/2 E_k,    e = mean(E_0, ..., E_K),    s(u, i) = e_u · e_i

A has an edge for each distinct positive (user, item) of train, no self-loops. A node without an edge keeps E_0 / (K+1).
"""

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from recsys_lora.cf.dot import DotProductEncoder
from recsys_lora.cf.encoder import Catalogue
from recsys_lora.cf.fold_in import FoldIn
from recsys_lora.cf.inference import Kept
from recsys_lora.cf.table import UnseenUsers, is_unseen, look_up, of_items
from recsys_lora.utils.types import NonNegativeInt, PositiveFloat, PositiveInt


def normalised_adjacency(catalogue: Catalogue) -> Tensor:
    """Return D^-1/2 A D^-1/2 as a sparse CSR tensor (n, n), n = U+1 + N+1: users first, then items."""
    first_item = catalogue.num_users + 1
    size = first_item + catalogue.num_items + 1
    edges = torch.stack([catalogue.train_user, catalogue.train_item + first_item])  # (2, positives)
    edges = torch.unique(edges, dim=1)  # (2, E)
    edges = torch.cat([edges, edges.flip(0)], dim=1)  # (2, 2E), both directions
    degree = torch.bincount(edges[0], minlength=size).clamp(min=1).float()
    values = (degree[edges[0]] * degree[edges[1]]).rsqrt()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        adjacency = torch.sparse_coo_tensor(edges, values, (size, size), check_invariants=True)
        return adjacency.coalesce().to_sparse_csr()


def grown_rows(row_starts: Tensor, columns: Tensor, first_item: int, users: int, items: int) -> tuple[Tensor, Tensor]:
    """Return a graph's CSR rows and columns, with nodes without edges added after the last user and the last item.

    Args:
        row_starts: where each node's columns begin (n + 1,), for all users, then all items.
        columns: (E,).
        first_item: number of the first item's node.
        users: how many more users.
        items: how many more items.
    """
    starts = [row_starts[: first_item + 1], row_starts[first_item].repeat(users)]
    starts += [row_starts[first_item + 1 :], row_starts[-1].repeat(items)]
    return torch.cat(starts), torch.where(columns >= first_item, columns + users, columns)


class _Propagate(torch.autograd.Function):
    """One product with the adjacency; as it is symmetric, the gradient is the same product (no transpose is built)."""

    @staticmethod
    def forward(ctx: Any, adjacency: Tensor, vectors: Tensor) -> Tensor:
        ctx.adjacency = adjacency
        return adjacency @ vectors

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, ctx.adjacency @ gradients[0].contiguous()


class LightGCN(DotProductEncoder):
    """Graph-smoothed id vectors; histories are read only for unseen users, and only with `unseen="history"`.

    Propagation runs once and is cached until the weights change.
    """

    adjacency: Tensor
    seen: Tensor

    def __init__(
        self,
        catalogue: Catalogue,
        dim: PositiveInt = 64,
        layers: NonNegativeInt = 2,
        init_std: PositiveFloat = 0.1,
        unseen: UnseenUsers = "zero",
        history_length: PositiveInt = 50,
    ) -> None:
        """Build the graph and draw E_0 from N(0, init_std^2).

        Args:
            catalogue: the data set's ids and graph edges.
            dim: width D of the vectors.
            layers: how many times K the vectors are smoothed; 0 is matrix factorisation.
            init_std: standard deviation of the initial vectors.
            unseen: vectors of ids that never occur in train; with "history", e_u of users is computed from their
                histories (`fold_in.py`), and e_i of items is the mean.
            history_length: how many of the latest positives are read for that.
        """
        super().__init__(dim, history_length=history_length if unseen == "history" else 0)
        self.layers = layers
        self.unseen = of_items(unseen)
        self.fold_in = FoldIn(catalogue) if unseen == "history" else None
        self.first_item = catalogue.num_users + 1
        seen = torch.cat([catalogue.seen_users, catalogue.seen_items])
        self.register_buffer("seen", seen, persistent=False)
        self.register_buffer("adjacency", normalised_adjacency(catalogue), persistent=False)
        self.weight = nn.Parameter(torch.randn(len(seen), dim) * init_std * seen.unsqueeze(-1))  # (n, D)
        self._kept: Kept[Tensor] = Kept()

    def propagated(self) -> Tensor:
        """Return the smoothed vectors (n, D) of all users, then all items."""
        if self.training or (torch.is_grad_enabled() and self.weight.requires_grad):
            return self._propagate()
        vectors: Tensor = self._kept([self.weight], self._propagate)
        return vectors

    def _propagate(self) -> Tensor:
        layer = total = self.weight
        for _ in range(self.layers):
            layer = _Propagate.apply(self.adjacency, layer)  # type: ignore[no-untyped-call]
            total = total + layer
        return total / (self.layers + 1)

    def grow(self, users: int, items: int) -> None:
        """Make room for more users and items, which have no edges."""
        old, graph = self.first_item, self.adjacency
        rows, columns = grown_rows(graph.crow_indices(), graph.col_indices(), old, users, items)
        size = len(self.weight) + users + items
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
            self.adjacency = torch.sparse_csr_tensor(rows, columns, graph.values(), (size, size), check_invariants=True)
        weight, seen = self.weight.detach(), self.seen
        parts = [nn.functional.pad(weight[:old], (0, 0, 0, users)), nn.functional.pad(weight[old:], (0, 0, 0, items))]
        self.weight = nn.Parameter(torch.cat(parts), requires_grad=self.weight.requires_grad)
        self.seen = torch.cat([nn.functional.pad(seen[:old], (0, users)), nn.functional.pad(seen[old:], (0, items))])
        self.first_item = old + users
        self._kept.forget()
        if self.fold_in is not None:
            self.fold_in.grow(users, items)

    def _vectors(self, ids: Tensor, first: int, last: int) -> Tensor:
        table, seen = self.propagated()[first:last], self.seen[first:last]
        return look_up(table, seen, ids, self.unseen)

    @property
    def fit_history_length(self) -> int:
        """Zero: all users of train rows are seen."""
        return 0

    def user_vectors(self, user: Tensor, history: Tensor) -> Tensor:
        """Return the users' smoothed vectors (B, D); those of unseen users depend on `unseen`."""
        vectors = self._vectors(user, 0, self.first_item)
        if self.fold_in is None or not history.shape[1]:
            return vectors
        every, seen = self.propagated(), self.seen[: self.first_item]
        tables = every[: self.first_item], every[self.first_item :]
        own: Tensor = self.fold_in(*tables, seen, history[:, -self.history_length :])
        return vectors + is_unseen(seen, user).unsqueeze(-1) * own

    def item_vectors(self, item: Tensor) -> Tensor:
        """Return the items' smoothed vectors (..., D)."""
        return self._vectors(item, self.first_item, len(self.weight))

    def item_table(self) -> Tensor:
        """Return every item's smoothed vector (N+1, D)."""
        return self.item_vectors(torch.arange(len(self.weight) - self.first_item, device=self.weight.device))
