"""CKF's Multi-LoRA: one low-rank update shared by all tasks, and one per task.

    y = W0 x + s · P A^T x            on k, v and o: the shared update
    y = W0 x + s · P_t A_t^T x        on q: that of the sample's own task t

Source: CKF, TKDE 2025, arXiv 2410.20642. The ablations move or drop one of the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Unpack

from torch import nn

from recsys_lora.lowrank import Injection, Routed, Site, Source, Static, inject
from recsys_lora.lowrank.source import DropoutPer
from recsys_lora.methods.base import LLMRecommender
from recsys_lora.methods.shared import Shared
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.types import PositiveFloat, PositiveInt, Probability

Lora = Literal["multi", "shared_only", "specific_only", "single", "all_matrices"]
"""`multi` is the paper's; `shared_only` and `specific_only` leave out the other update; `single` has one shared update
on the linear maps of both; `all_matrices` has both updates on all of them."""


@dataclass(frozen=True)
class MultiLoRA:
    """Low-rank updates, some shared and some specific to a task.

    Attributes:
        lora: which updates there are, and where; see `Lora`.
        rank: R of each.
        alpha: updates are scaled by alpha / R.
        dropout: share of an update's input features dropped in training.
        dropout_per: drop a feature for all tokens of a sample, or for each token separately (slower).
        shared_targets: linear maps with the shared update, by the last part of their names.
        specific_targets: linear maps with one update per task.
    """

    lora: Lora
    rank: PositiveInt
    alpha: PositiveFloat
    dropout: Probability = 0.0
    dropout_per: DropoutPer = "sample"
    shared_targets: Sequence[str] = ("k_proj", "v_proj", "o_proj")
    specific_targets: Sequence[str] = ("q_proj",)

    def install(self, model: nn.Module, tasks: int) -> Injection:
        """Add the updates for that many tasks to a decoder, in place.

        Raises:
            UserError: no linear map is left to adapt, or the model has none with a given name.
        """
        both = list(dict.fromkeys([*self.shared_targets, *self.specific_targets]))
        shared, specific = {
            "multi": (list(self.shared_targets), list(self.specific_targets)),
            "shared_only": (list(self.shared_targets), []),
            "specific_only": ([], list(self.specific_targets)),
            "single": (both, []),
            "all_matrices": (both, both),
        }[self.lora]
        if not shared and not specific:
            raise UserError(
                f"model.lora={self.lora}: nothing is left to adapt: name linear maps in model.shared_targets or "
                "model.specific_targets"
            )

        def sources(site: Site) -> list[Source]:
            shape = site.in_features, site.out_features, self.rank, self.alpha
            drop = self.dropout, self.dropout_per
            made: list[Source] = [Static(*shape, *drop)] if site.target in shared else []
            return [*made, Routed(*shape, tasks, *drop)] if site.target in specific else made

        return inject(model, [target for target in both if target in {*shared, *specific}], sources)


class MultiTuned(Shared):
    """Arguments of all recommenders with Multi-LoRA: see `Shared` and `MultiLoRA`."""

    lora: Lora
    rank: PositiveInt
    alpha: PositiveFloat
    dropout: Probability
    dropout_per: DropoutPer
    shared_targets: Sequence[str]
    specific_targets: Sequence[str]


class MultiLoRATuned(LLMRecommender):
    """A recommender whose backbone has Multi-LoRA, in `self.lowrank`; its arguments are those of `MultiTuned`."""

    lowrank: Injection

    def __init__(
        self,
        *,
        lora: Lora,
        rank: PositiveInt,
        alpha: PositiveFloat,
        dropout: Probability,
        dropout_per: DropoutPer,
        shared_targets: Sequence[str],
        specific_targets: Sequence[str],
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        updates = MultiLoRA(lora, rank, alpha, dropout, dropout_per, shared_targets, specific_targets)
        self.lowrank = updates.install(self.backbone.model, len(self.tasks))
