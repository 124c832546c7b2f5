"""CoRA's collaborative query generator: a pair of collaborative vectors becomes low-rank factors A(u, i).

    q_0     = dropout(LayerNorm(Q))                                   Q: (K, D_q), learned
    q       = LayerNorm(q + SelfAttention(q))                         N blocks, post-norm
    q       = LayerNorm(q + CrossAttention(q, collaborative input))
    q       = LayerNorm(q + FFN(q))
    A(u, i) = reshape(W mean_k(q_k) + b) / ||.||_F                    (H, R), one head for each distinct input width

Source: CoRA (arXiv 2408.10645), section on the collaborative query generator, and the authors' public code.
"""

from collections.abc import Mapping
from typing import Any, Literal, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional

from recsys_lora.methods.cora.reader import QueryReader, ReaderOptions, ReaderSettings
from recsys_lora.utils.types import PositiveInt

Kind = Literal["queries", "direct"]
Pooling = Literal["mean", "per_rank_component"]

_DEFAULT_QUERIES = 4
_DEFAULT_SHARE, _LARGEST_SHARE = 1 / 50, 1 / 10
"""Size of the default generator relative to the backbone: the target, and the maximum for tiny backbones."""


class WeightGenerator(nn.Module):
    """Generates A(u, i), one (width, R) matrix per group of adapted linear maps, for every pair of a batch.

    Args:
        user_dim: width of e_u.
        item_dim: width of e_i.
        widths: input width of each group of linear maps that share one A; each group has its own weight head.
        rank: R.
        kind: `queries` is the paper's generator; `direct` maps [e_u; e_i], or e_u if that is the input, linearly to
            the weights.
        pooling: `mean` maps the queries' mean to all of A; with `per_rank_component` query k generates A's column k.
        normalise: scale every A to a Frobenius norm of one.
        backbone_parameters: number of parameters of the language model.
        reader: how the queries read the pair: see `ReaderOptions`.
    """

    def __init__(
        self,
        user_dim: int,
        item_dim: int,
        widths: Mapping[str, int],
        rank: PositiveInt,
        *,
        kind: Kind = "queries",
        pooling: Pooling = "mean",
        normalise: bool = True,
        backbone_parameters: int | None = None,
        **reader: Unpack[ReaderOptions],
    ) -> None:
        super().__init__()
        self.widths = dict(widths)
        self.rank = rank
        self.normalise = normalise
        self.pooling: Pooling = "mean" if kind == "direct" else pooling
        self.reader: QueryReader | None = None
        self.of_user = reader.get("input") == "user"
        feature_dim = user_dim if self.of_user else user_dim + item_dim
        if kind == "queries":
            given: dict[str, Any] = dict(reader)
            structure = {"user_dim": user_dim, "item_dim": item_dim, "widths": widths, "rank": rank, "pooling": pooling}
            given["query_dim"] = given.get("query_dim") or fitting_query_dim(backbone_parameters, structure, reader)
            given["queries"] = _number_of_queries(given.get("queries"), rank, pooling)
            given["ffn_dim"] = given.get("ffn_dim") or 4 * given["query_dim"]
            feature_dim = given["query_dim"]
            self.reader = QueryReader(user_dim, item_dim, ReaderSettings(**given))
        columns = rank if self.pooling == "mean" else 1
        self.heads = nn.ModuleDict({group: nn.Linear(feature_dim, width * columns) for group, width in widths.items()})

    def forward(self, user: Tensor, item: Tensor) -> dict[str, Tensor]:
        """Generate the factors of a batch of pairs.

        Args:
            user: e_u (B, D_u).
            item: e_i (B, D_i).

        Returns:
            Each group's A(u, i), (B, width, R), by the group's name.
        """
        if self.reader is None:
            states = (user if self.of_user else torch.cat([user, item], dim=-1)).unsqueeze(1)
        else:
            states = self.reader(user, item)
        if self.pooling == "mean":
            states = states.mean(dim=1)  # (B, D_q)
        factors = {}
        for group, head in self.heads.items():
            weights: Tensor = head(states)  # (B, width * R), or (B, R, width) from one query per component
            mean = self.pooling == "mean"
            weights = weights.view(len(weights), -1, self.rank) if mean else weights.transpose(1, 2)
            if self.normalise:
                weights = functional.normalize(weights.flatten(1), dim=-1).view(weights.shape)
            factors[group] = weights  # (B, width, R)
        return factors


def _number_of_queries(queries: int | None, rank: int, pooling: Pooling) -> int:
    """Return K: as requested, else 4, or R if each query generates one rank component."""
    if pooling == "mean":
        return queries or _DEFAULT_QUERIES
    if queries not in (None, rank):
        raise ValueError(f"queries={queries} is not rank={rank}, but pooling=per_rank_component takes one a component")
    return rank


def fitting_query_dim(
    backbone_parameters: int | None, structure: Mapping[str, Any], reader: ReaderOptions | None = None
) -> int:
    """Return the D_q for a backbone: heads times a power of two, at most 512, that keeps the generator small.

    The target is a fiftieth of the backbone (D_q = 128 for SmolLM2-135M, 512 for 7 B); for a backbone so small that
    this would leave fewer than 32, the generator may have a tenth of its size.

    Args:
        backbone_parameters: the backbone's number of parameters.
        structure: the arguments of `WeightGenerator` on which its size depends.
        reader: its options; D_q is a multiple of the `heads`.

    Raises:
        ValueError: `backbone_parameters` is None.
    """
    if backbone_parameters is None:
        raise ValueError("query_dim=None needs backbone_parameters")
    options: ReaderOptions = reader or {}
    heads = options.get("heads", ReaderSettings.heads)
    candidates = [heads * 2**power for power in range(10) if heads * 2**power <= 512] or [heads]
    with torch.device("meta"):
        sizes = {
            dim: sum(p.numel() for p in WeightGenerator(**structure, **{**options, "query_dim": dim}).parameters())
            for dim in candidates
        }
    preferred = [dim for dim in candidates if dim >= 32 and sizes[dim] <= _DEFAULT_SHARE * backbone_parameters]
    allowed = [dim for dim in candidates if dim <= 32 and sizes[dim] <= _LARGEST_SHARE * backbone_parameters]
    fitting: list[int] = preferred or allowed or candidates[:1]
    return max(fitting)
