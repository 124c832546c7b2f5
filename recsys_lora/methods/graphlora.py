"""GraphLoRA: adds vectors of a user-item graph inside LoRA's bottleneck, at the prompt's ID tokens.

    soft tokens = MLP(e_u), MLP(e_i)                                        as in CoLLM
    y           = W0 x + (alpha / R) · P (A^T dropout(x) + beta g)          in the chosen blocks
    g           = the graph network's vector of the user at the user's soft token, of the item at the item's, else 0

Everything is trained together, in one stage: LoRA, MLP, graph network and a copy of the CF model, whose vectors are
the node features. All other blocks have plain LoRA. The graph has the positive pairs of the training split, including a
row's own pair, as in the paper; see `user_item_graph.py`.
Source: GraphLoRA, ACL 2026, arXiv 2606.07526, and its authors' description of their code
(https://github.com/wgj15965/GraphLoRA): rank 8 and alpha 16 on q and v, beta 0.1, NGCF of three layers, block 15 of 32
on MovieLens-1M and the last on Amazon-Book.

Ours: the graph network sees the whole graph, not the part around a batch, so that the rows of a batch do not affect
each other; the node features are divided by their standard deviation, like the vectors of the soft tokens; alpha / R
scales the chosen block's update, too (layer_alpha = R removes the scaling, as in their code).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, Unpack

import torch
from torch import Tensor, nn

from recsys_lora.cf.encoder import Catalogue, CollaborativeEncoder
from recsys_lora.cf.inference import Kept
from recsys_lora.data.batch import PromptBatch
from recsys_lora.lowrank import BottleneckShift, Injection, Shifted, Site, Static, inject
from recsys_lora.lowrank.inject import find_sites
from recsys_lora.methods.collm import CoLLM, Mapped
from recsys_lora.methods.lora import LoRA
from recsys_lora.methods.shared import Vectors
from recsys_lora.methods.user_item_graph import GraphNetwork
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.types import NonNegativeFloat, NonNegativeInt, PositiveFloat

Layer = NonNegativeInt | Literal["middle", "last", "all"]


@dataclass(frozen=True)
class ShiftedLoRA(LoRA):
    """LoRA with vectors of the batch added in the bottleneck of one decoder block, or of all.

    Attributes:
        layer: the block's number from 0, the `middle` one (15 of 32), the `last` or `all`.
        layer_alpha: alpha of the blocks with vectors; None for that of all others.
    """

    layer: Layer = "middle"
    layer_alpha: PositiveFloat | None = None

    def install(self, model: nn.Module) -> Injection:
        """Add the updates to a decoder, in place; they start at zero.

        Raises:
            UserError: the model has no linear map with a requested name, or no such block.
        """
        chosen = self._blocks(max((site.block for site in find_sites(model)), default=0) + 1)

        def source(site: Site) -> list[Static]:
            shape = site.in_features, site.out_features, self.rank
            if site.block in chosen:
                return [Shifted(*shape, self.layer_alpha or self.alpha, self.dropout, self.dropout_per)]
            return [Static(*shape, self.alpha, self.dropout, self.dropout_per)]

        return inject(model, self.targets, source)

    def _blocks(self, count: int) -> set[int]:
        """Return the numbers of the chosen blocks among `count`."""
        if isinstance(self.layer, int) and self.layer >= count:
            raise UserError(f"model.layer={self.layer}: the backbone's blocks are 0 to {count - 1}: choose one of them")
        named = {"middle": {(count - 1) // 2}, "last": {count - 1}, "all": set(range(count))}
        return {self.layer} if isinstance(self.layer, int) else named[self.layer]


class GraphLoRA(CoLLM):
    """GraphLoRA on one backbone and one collaborative encoder that gives every user and item one vector.

    Args:
        beta: weight of the graph's vectors, which have length 0.1; 0 disables the graph network.
        layer: the block where they are added; see `ShiftedLoRA`.
        layer_alpha: alpha of that block's updates; see `ShiftedLoRA`.
        graph: creates the graph network: `GraphNetwork` with its own options bound.
        catalogue: users, items and the positive pairs of train.
        tune_encoder: train a copy of the collaborative encoder, too; the fitted one stays unchanged.
        mapped: arguments of all recommenders with CoLLM's mapping; scale and noise apply to the graph's nodes, too.

    Raises:
        UserError: as for CoLLM, or the encoder reads histories, or the backbone has no such block.
    """

    def __init__(
        self,
        *,
        beta: NonNegativeFloat,
        layer: Layer,
        layer_alpha: PositiveFloat | None,
        graph: Callable[..., GraphNetwork],
        catalogue: Catalogue,
        tune_encoder: bool,
        **mapped: Unpack[Mapped],
    ) -> None:
        super().__init__(
            lora=partial(ShiftedLoRA, layer=layer, layer_alpha=layer_alpha) if beta else LoRA,
            tune_lora=True,
            tune_encoder=tune_encoder,
            encoder_start="fitted",
            **mapped,
        )
        vectors = self.encoder
        if vectors.history_length:
            raise UserError(
                f"cf: e_u changes with the user's history there, but model={self.name} needs one vector a user for "
                "its graph: choose cf=mf or cf=lightgcn"
            )
        self.beta = beta
        self.graph = graph(catalogue, vectors.user_dim, mapped["rank"]) if beta else None
        self._kept: Kept[Tensor] = Kept()

    def condition(self, batch: PromptBatch, vectors: Vectors | None) -> None:
        """Pass the graph's vectors of users and candidates to the chosen blocks, each for its soft token.

        Masked users and items have no node: they get that of the padding, which has no edges.
        """
        if self.graph is None:
            return
        nodes = self.nodes(self.graph)  # (n, R)
        user, items = batch.user.clamp(min=0), batch.items.clamp(min=0)
        every = torch.cat([user.unsqueeze(1), self.graph.first_item + items], dim=1)  # (B, 1 + C)
        sides = self.arranged(nodes[every], batch)  # (B, S, R)
        self.lowrank.state.set(shift=BottleneckShift(self.beta * sides, batch.soft_positions))

    def grow(self, users: int, items: int) -> None:
        """Make room for more users and items, also in the graph."""
        super().grow(users, items)
        if self.graph is not None:
            self.graph.grow(users, items)

    def nodes(self, graph: GraphNetwork) -> Tensor:
        """Return the graph network's vectors (n, R); without gradients they are cached until a weight changes."""
        encoder = self.read_encoder
        if graph.training or torch.is_grad_enabled():
            return self._nodes(graph, encoder)
        read = (*graph.parameters(), *encoder.parameters(), *self.vector_scale.buffers())
        vectors: Tensor = self._kept(read, lambda: self._nodes(graph, encoder))
        return vectors

    def _nodes(self, graph: GraphNetwork, encoder: CollaborativeEncoder) -> Tensor:
        every = torch.arange(graph.nodes, device=self.device)
        user, item = every[: graph.first_item], every[: graph.nodes - graph.first_item]
        nothing = every.new_zeros(graph.nodes, 0)
        users, _ = encoder.encode(user, nothing[: len(user)], torch.zeros_like(user))  # (U+1, D)
        _, items = encoder.encode(torch.zeros_like(item), nothing[: len(item)], item)  # (N+1, D)
        vectors: Tensor = graph(*self.vector_scale(users, items))
        return vectors
