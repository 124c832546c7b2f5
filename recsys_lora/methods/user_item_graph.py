"""A small graph network over users and the items they liked: a narrow vector for every node, for GraphLoRA.

    P            = D^-1/2 A D^-1/2, A an edge for each distinct positive (user, item) of train, no self-loops
    lightgcn:  h = mean(E_0, P E_0, ..., P^K E_0) W                          (He et al., 2020, arXiv 2002.02126, eq. 8)
    ngcf:      E_{k+1} = LeakyReLU((P + I) E_k W_k + (P E_k * E_k) V_k), h = E_K   (Wang et al., 2019, arXiv 1905.08108,
                                                                              eq. 7)
    g            = 0.1 h / |h|

E_0 are the node features. The output of a node without edges depends only on its own features; zero features give zero.
"""

import itertools
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from recsys_lora.cf.encoder import Catalogue
from recsys_lora.cf.lightgcn import grown_rows, normalised_adjacency
from recsys_lora.utils.types import PositiveInt, Probability

Kind = Literal["lightgcn", "ngcf"]
_LENGTH = 0.1
"""Length of every output vector, as in the code of GraphLoRA's authors."""
_SHORTEST = 1e-4
"""An h shorter than this is not scaled to the full length, so that its gradient stays finite."""
_SLOPE = 0.2
"""Negative slope of LeakyReLU, as in the code of NGCF's authors."""


class GraphNetwork(nn.Module):
    """A graph network whose nodes are all users, 0 to U, then all items, 0 to N; id 0 is padding and has no edges.

    Args:
        catalogue: the ids and the edges.
        dim: width D of the node features.
        width: width R of the output.
        kind: `lightgcn` or `ngcf`; see the module docstring.
        layers: K, the number of propagation steps.
        dropout: share of a layer's output entries dropped in training.
    """

    row_starts: Tensor
    columns: Tensor
    weights: Tensor

    def __init__(
        self,
        catalogue: Catalogue,
        dim: int,
        width: int,
        *,
        kind: Kind,
        layers: PositiveInt,
        dropout: Probability,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.layers = layers
        self.dropout = dropout
        self.first_item = catalogue.num_users + 1
        self.nodes = self.first_item + catalogue.num_items + 1
        adjacency = normalised_adjacency(catalogue)  # as components: DDP cannot synchronise sparse tensors
        self.register_buffer("row_starts", adjacency.crow_indices(), persistent=False)
        self.register_buffer("columns", adjacency.col_indices(), persistent=False)
        self.register_buffer("weights", adjacency.values(), persistent=False)
        widths = [dim] * layers + [width]
        shapes = list(itertools.pairwise(widths)) if kind == "ngcf" else [(dim, width)]
        self.maps = nn.ParameterList(nn.init.xavier_uniform_(torch.empty(shape)) for shape in shapes)  # W
        products = shapes if kind == "ngcf" else []
        self.product_maps = nn.ParameterList(nn.init.xavier_uniform_(torch.empty(shape)) for shape in products)  # V

    def grow(self, users: int, items: int) -> None:
        """Make room for more users and items, which have no edges."""
        parts = self.row_starts, self.columns, self.first_item
        self.row_starts, self.columns = grown_rows(*parts, users, items)
        self.first_item += users
        self.nodes += users + items

    @property
    def adjacency(self) -> Tensor:
        """P as a sparse CSR tensor (n, n)."""
        parts, size = (self.row_starts, self.columns, self.weights), (self.nodes, self.nodes)
        return torch.sparse_csr_tensor(*parts, size, check_invariants=False)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Return the nodes' vectors (U+1 + N+1, R), float32, from the features of users (U+1, D) and items (N+1, D)."""
        with torch.autocast(users.device.type, enabled=False):  # there are no sparse products in half precision
            own = torch.cat([users, items]).float()
            h = self._ngcf(own) if self.kind == "ngcf" else self._lightgcn(own)
            return _LENGTH * functional.normalize(h, dim=-1, eps=_SHORTEST)

    def _lightgcn(self, own: Tensor) -> Tensor:
        adjacency = self.adjacency
        layer = total = torch.mm(own, self.maps[0])  # map and propagation commute, and R is narrower than D
        for _ in range(self.layers):
            layer = self._dropped(adjacency @ layer)
            total = total + layer
        return total / (self.layers + 1)

    def _ngcf(self, vectors: Tensor) -> Tensor:
        adjacency = self.adjacency
        for W, V in zip(self.maps, self.product_maps, strict=True):
            neighbours = adjacency @ vectors
            sums = (neighbours + vectors) @ W + (neighbours * vectors) @ V
            vectors = self._dropped(functional.leaky_relu(sums, _SLOPE))
        return vectors

    def _dropped(self, vectors: Tensor) -> Tensor:
        return functional.dropout(vectors, self.dropout, self.training)
