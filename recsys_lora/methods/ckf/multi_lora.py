"""CKF's Multi-LoRA: one low-rank update that all tasks share, and one a task.

    y = W0 x + s · P A^T x            on k, v and o: the shared update
    y = W0 x + s · P_t A_t^T x        on q: that of the sample's own task t

Source: CKF, TKDE 2025, arXiv 2410.20642. The ablations move or drop one of the two.
"""

from collections.abc import Sequence
from typing import Any, Literal, Unpack

from torch import nn

from recsys_lora.lowrank import Injection, Routed, Site, Source, Static, inject
from recsys_lora.lowrank.source import DropoutPer
from recsys_lora.methods.base import LLMRecommender
from recsys_lora.methods.shared import Shared
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.types import PositiveFloat, PositiveInt, Probability

Lora = Literal["multi", "shared_only", "specific_only", "single", "all_matrices"]
"""`multi` is the paper's; `shared_only` and `specific_only` leave out the other update; `single` is one shared update
on the linear maps of both; `all_matrices` puts both updates on all of them."""


def multi_lora(
    model: nn.Module,
    kind: Lora,
    *,
    rank: int,
    alpha: float,
    tasks: int,
    dropout: float = 0.0,
    dropout_per: DropoutPer = "sample",
    shared_targets: Sequence[str] = ("k_proj", "v_proj", "o_proj"),
    specific_targets: Sequence[str] = ("q_proj",),
) -> Injection:
    """Put the updates into a decoder, in place.

    Args:
        model: a decoder as `transformers` loads it.
        kind: which updates, and where; see `Lora`.
        rank: R of each update.
        alpha: updates are scaled by alpha / R.
        tasks: number of tasks.
        dropout: share of the input features that an update does not see in training.
        dropout_per: drop a feature for all of a sample's tokens, or for each token by itself (slower).
        shared_targets: linear maps of the shared update, by the last part of their names.
        specific_targets: those of the tasks' own.

    Raises:
        UserError: no linear map is left to adapt, or the model has none of such a name.
    """
    both = list(dict.fromkeys([*shared_targets, *specific_targets]))
    shared, specific = {
        "multi": (list(shared_targets), list(specific_targets)),
        "shared_only": (list(shared_targets), []),
        "specific_only": ([], list(specific_targets)),
        "single": (both, []),
        "all_matrices": (both, both),
    }[kind]
    if not shared and not specific:
        raise UserError(
            f"model.lora={kind}: nothing is left to adapt: name linear maps in model.shared_targets or "
            "model.specific_targets"
        )

    def sources(site: Site) -> list[Source]:
        shape: dict[str, Any] = {"in_features": site.in_features, "out_features": site.out_features, "rank": rank}
        shape |= {"alpha": alpha, "dropout": dropout, "dropout_per": dropout_per}
        made: list[Source] = [Static(**shape)] if site.target in shared else []
        return [*made, Routed(**shape, tasks=tasks)] if site.target in specific else made

    return inject(model, [target for target in both if target in {*shared, *specific}], sources)


class MultiTuned(Shared):
    """What a recommender with Multi-LoRA is made with: see `Shared` and `MultiLoRATuned`."""

    lora: Lora
    rank: PositiveInt
    alpha: PositiveFloat
    dropout: Probability
    dropout_per: DropoutPer
    shared_targets: Sequence[str]
    specific_targets: Sequence[str]


class MultiLoRATuned(LLMRecommender):
    """A recommender whose backbone has Multi-LoRA, in `self.lowrank`.

    Args:
        lora: which low-rank updates there are, and where.
        rank: R of each.
        alpha: updates are scaled by alpha / R.
        dropout: share of the adapted maps' input features that an update does not see in training.
        dropout_per: drop an input feature for all of a sample's tokens, or for each token by itself (slower).
        shared_targets: linear maps with the update that all tasks share, by the last part of their names.
        specific_targets: linear maps with an update a task.
        shared: what every recommender is made with.
    """

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
        self.lowrank = multi_lora(
            self.backbone.model,
            lora,
            rank=rank,
            alpha=alpha,
            tasks=len(self.tasks),
            dropout=dropout,
            dropout_per=dropout_per,
            shared_targets=shared_targets,
            specific_targets=specific_targets,
        )
