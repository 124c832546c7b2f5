"""The queries of CoRA's generator and the blocks through which they read a pair of collaborative vectors.

Attention over a single key returns that key's value whatever the query, so it is built without query and key matrices,
which would never get a gradient: as one linear map, since value and output maps compose to one (`merged`), or as these
two, with dropout of each head's single weight between them, as in the authors' code (`separate`). For the same reason
keys have no bias (a softmax is invariant to adding a constant to its inputs).
"""

from dataclasses import dataclass
from typing import Literal, TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from recsys_lora.utils.types import PositiveFloat, PositiveInt, Probability

Input = Literal["joint", "pair", "user"]
SingleKey = Literal["merged", "separate"]


class ReaderOptions(TypedDict, total=False):
    """How queries read the pair.

    Attributes:
        input: what the queries see: `joint` is the one vector [e_u; e_i], `pair` the two vectors as two keys, `user`
            e_u alone, so that a user has the same weights for every item.
        queries: K; None is 4, or R if pooling is `per_rank_component`.
        blocks: N.
        query_dim: D_q; None fits it to the backbone (`fitting_query_dim`), whose size must then be given.
        heads: attention heads.
        ffn_dim: width of the feed-forward layers; None is 4 D_q.
        dropout: on the queries, the attention and every sub-layer's output.
        single_key: how attention over one key is built: `merged` is one linear map, `separate` a value and an output
            map, with dropout of the single weight between them.
        norm_eps: epsilon of the LayerNorms.
        init_std: standard deviation of the blocks' initial weights; None is one over the square root of the input
            width. The authors' .02, meant for D_q = 512, leaves a narrow generator nearly constant: on labels that are
            the sign of e_u · e_i it stays at chance where None learns them (`tests/methods/test_contract.py`).
    """

    input: Input
    queries: PositiveInt | None
    blocks: PositiveInt
    query_dim: PositiveInt | None
    heads: PositiveInt
    ffn_dim: PositiveInt | None
    dropout: Probability
    single_key: SingleKey
    norm_eps: PositiveFloat
    init_std: PositiveFloat | None


@dataclass(frozen=True)
class ReaderSettings:
    """`ReaderOptions` with all widths resolved."""

    queries: int
    query_dim: int
    ffn_dim: int
    input: Input = "joint"
    blocks: int = 2
    heads: int = 4
    dropout: float = 0.1
    single_key: SingleKey = "merged"
    norm_eps: float = 1e-5
    init_std: float | None = None


class Attention(nn.Module):
    """Multi-head attention from K queries to a fixed number of keys; with one key, linear maps of its value."""

    def __init__(
        self, query_dim: int, key_dim: int, keys: int, heads: int, dropout: float, single_key: SingleKey = "merged"
    ) -> None:
        super().__init__()
        self.keys = keys
        self.heads = heads
        self.dropout = dropout
        self.single_key = single_key if keys == 1 else None
        if keys == 1:
            self.value = nn.Linear(key_dim, query_dim)
            if single_key == "separate":
                self.output = nn.Linear(query_dim, query_dim)
        else:
            self.query = nn.Linear(query_dim, query_dim)
            self.key = nn.Linear(key_dim, query_dim, bias=False)
            self.value = nn.Linear(key_dim, query_dim, bias=False)  # the output's bias makes one here redundant
            self.output = nn.Linear(query_dim, query_dim)

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Attend from `queries` (B, K, D_q) to `keys` (B, M, D_k); returns (B, K, D_q)."""
        value: Tensor = self.value(keys)  # (B, M, D_q)
        if self.keys == 1:
            value = value.expand(-1, queries.shape[1], -1)  # (B, K, D_q)
            return self._separate(value) if self.single_key == "separate" else value
        q, k, v = self._split(self.query(queries)), self._split(self.key(keys)), self._split(value)
        rate = self.dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(q, k, v, dropout_p=rate)  # (B, heads, K, d)
        output: Tensor = self.output(mixed.transpose(1, 2).flatten(2))  # (B, K, D_q)
        return output

    def _separate(self, value: Tensor) -> Tensor:
        """Apply dropout to the single weight, 1, of each query and head, and map the resulting values (B, K, D_q)."""
        weight = functional.dropout(value.new_ones(*value.shape[:2], self.heads, 1), self.dropout, self.training)
        mixed = (value.reshape(*value.shape[:2], self.heads, -1) * weight).flatten(2)
        output: Tensor = self.output(mixed)
        return output

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)  # (B, heads, ., d)


class Block(nn.Module):
    """Self-attention among the queries, cross-attention to the collaborative input, feed-forward; post-norm."""

    def __init__(self, settings: ReaderSettings, key_dim: int, keys: int) -> None:
        super().__init__()
        dim = settings.query_dim
        attention = settings.heads, settings.dropout, settings.single_key
        self.self_attention = Attention(dim, dim, settings.queries, *attention)
        self.cross_attention = Attention(dim, key_dim, keys, *attention)
        self.ffn = nn.Sequential(nn.Linear(dim, settings.ffn_dim), nn.GELU(), nn.Linear(settings.ffn_dim, dim))
        self.norms = nn.ModuleList(nn.LayerNorm(dim, eps=settings.norm_eps) for _ in range(3))
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Update `queries` (B, K, D_q) from `keys` (B, M, D_k)."""
        queries = self.norms[0](queries + self.dropout(self.self_attention(queries, queries)))
        queries = self.norms[1](queries + self.dropout(self.cross_attention(queries, keys)))
        updated: Tensor = self.norms[2](queries + self.dropout(self.ffn(queries)))
        return updated  # (B, K, D_q)


class QueryReader(nn.Module):
    """K learned queries read the collaborative input through N blocks."""

    def __init__(self, user_dim: int, item_dim: int, settings: ReaderSettings) -> None:
        super().__init__()
        dim, heads = settings.query_dim, settings.heads
        if dim % heads:
            raise ValueError(f"query_dim={dim} is not a multiple of heads={heads}")
        self.input = settings.input
        if self.input == "pair":  # separate maps, or the queries could not tell the two keys apart
            self.user_key = nn.Linear(user_dim, dim)
            self.item_key = nn.Linear(item_dim, dim)
        key_dim, keys = {"joint": (user_dim + item_dim, 1), "pair": (dim, 2), "user": (user_dim, 1)}[self.input]
        self.queries = nn.Parameter(torch.empty(settings.queries, dim))
        self.norm = nn.LayerNorm(dim, eps=settings.norm_eps)
        self.dropout = nn.Dropout(settings.dropout)
        self.blocks = nn.ModuleList(Block(settings, key_dim, keys) for _ in range(settings.blocks))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=settings.init_std or module.in_features**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.queries, std=0.02)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Read a batch of pairs, (B, D_u) and (B, D_i); returns the queries' final states (B, K, D_q)."""
        if self.input == "pair":
            keys = torch.stack([self.user_key(user), self.item_key(item)], dim=1)  # (B, 2, D_q)
        else:
            keys = (user if self.input == "user" else torch.cat([user, item], dim=-1)).unsqueeze(1)  # (B, 1, D)
        states: Tensor = self.dropout(self.norm(self.queries)).expand(len(user), -1, -1)  # (B, K, D_q)
        for block in self.blocks:
            states = block(states, keys)
        return states
