"""The queries of CoRA's generator and the blocks through which they read a pair of collaborative vectors.

An attention over a single key gives that key's value whatever the query, so it is built without query and key
matrices, which could never get a gradient: as the one linear map that value and output together are (`merged`), or as
these two, with the dropout of each head's one weight between them, as the authors' code has it (`separate`). For the
same reason keys have no bias (a softmax does not feel what is added to all its inputs).
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from recsys_lora.utils.errors import UserError

Input = Literal["joint", "pair"]
SingleKey = Literal["merged", "separate"]


class Attention(nn.Module):
    """Multi-head attention from K queries to a fixed number of keys; with one key, linear maps of its value."""

    def __init__(
        self, query_dim: int, key_dim: int, keys: int, heads: int, dropout: float, single_key: SingleKey = "merged"
    ) -> None:
        super().__init__()
        self.keys, self.heads, self.dropout = keys, heads, dropout
        self.single_key = single_key if keys == 1 else None
        if keys == 1:
            self.value = nn.Linear(key_dim, query_dim)
            if single_key == "separate":
                self.output = nn.Linear(query_dim, query_dim)
        else:
            self.query = nn.Linear(query_dim, query_dim)
            self.key = nn.Linear(key_dim, query_dim, bias=False)
            self.value = nn.Linear(key_dim, query_dim, bias=False)  # the output's bias says all that one here could
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
        """Drop the one weight, 1, of some heads of some queries, and map what is left of the values (B, K, D_q)."""
        weight = functional.dropout(value.new_ones(*value.shape[:2], self.heads, 1), self.dropout, self.training)
        mixed = (value.reshape(*value.shape[:2], self.heads, -1) * weight).flatten(2)
        output: Tensor = self.output(mixed)
        return output

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)  # (B, heads, ., d)


class Block(nn.Module):
    """Self-attention among the queries, cross-attention to the collaborative input, feed-forward; post-norm."""

    def __init__(
        self,
        query_dim: int,
        queries: int,
        key_dim: int,
        keys: int,
        heads: int,
        ffn_dim: int,
        dropout: float,
        single_key: SingleKey,
        norm_eps: float,
    ) -> None:
        super().__init__()
        self.self_attention = Attention(query_dim, query_dim, queries, heads, dropout, single_key)
        self.cross_attention = Attention(query_dim, key_dim, keys, heads, dropout, single_key)
        self.ffn = nn.Sequential(nn.Linear(query_dim, ffn_dim), nn.GELU(), nn.Linear(ffn_dim, query_dim))
        self.norms = nn.ModuleList(nn.LayerNorm(query_dim, eps=norm_eps) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Update `queries` (B, K, D_q) from `keys` (B, M, D_k)."""
        queries = self.norms[0](queries + self.dropout(self.self_attention(queries, queries)))
        queries = self.norms[1](queries + self.dropout(self.cross_attention(queries, keys)))
        updated: Tensor = self.norms[2](queries + self.dropout(self.ffn(queries)))
        return updated  # (B, K, D_q)


class QueryReader(nn.Module):
    """K learned queries read the collaborative input through N blocks."""

    def __init__(
        self,
        user_dim: int,
        item_dim: int,
        *,
        input: Input,  # noqa: A002 - the knob's name
        queries: int,
        blocks: int,
        query_dim: int,
        heads: int,
        ffn_dim: int,
        dropout: float,
        single_key: SingleKey,
        norm_eps: float,
        init_std: float | None,
    ) -> None:
        super().__init__()
        if query_dim % heads:
            raise UserError(
                f"model.generator.query_dim={query_dim} is not a multiple of model.generator.heads={heads}: change one"
            )
        self.input = input
        if input == "pair":  # maps of their own, or the two keys could not be told apart
            self.user_key = nn.Linear(user_dim, query_dim)
            self.item_key = nn.Linear(item_dim, query_dim)
        key_dim, keys = (user_dim + item_dim, 1) if input == "joint" else (query_dim, 2)
        self.queries = nn.Parameter(torch.empty(queries, query_dim))
        self.norm = nn.LayerNorm(query_dim, eps=norm_eps)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(query_dim, queries, key_dim, keys, heads, ffn_dim, dropout, single_key, norm_eps)
            for _ in range(blocks)
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=init_std or module.in_features**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.queries, std=0.02)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Read a batch of pairs, (B, D_u) and (B, D_i); returns the queries' final states (B, K, D_q)."""
        if self.input == "joint":
            keys = torch.cat([user, item], dim=-1).unsqueeze(1)  # (B, 1, D_u + D_i)
        else:
            keys = torch.stack([self.user_key(user), self.item_key(item)], dim=1)  # (B, 2, D_q)
        states: Tensor = self.dropout(self.norm(self.queries)).expand(len(user), -1, -1)  # (B, K, D_q)
        for block in self.blocks:
            states = block(states, keys)
        return states
