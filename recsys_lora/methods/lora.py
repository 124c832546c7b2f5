"""LoRA on a frozen backbone, as TALLRec, CoLLM, BinLLM and their kind tune it: the settings, and what has it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Unpack

from torch import nn

from recsys_lora.lowrank import Injection, Static, inject
from recsys_lora.lowrank.source import DropoutPer
from recsys_lora.methods.base import LLMRecommender
from recsys_lora.methods.shared import Shared
from recsys_lora.utils.types import PositiveFloat, PositiveInt, Probability


@dataclass(frozen=True)
class LoRA:
    """Low-rank updates that all rows share (Hu et al., 2021, arXiv 2106.09685).

    Attributes:
        rank: R.
        alpha: updates are scaled by alpha / R.
        targets: the linear maps adapted in every block, by the last part of their names.
        dropout: share of the input features that an update does not see in training.
        dropout_per: drop a feature for all of a sample's tokens, or for each token by itself (slower).
    """

    rank: PositiveInt = 8
    alpha: PositiveFloat = 16.0
    targets: Sequence[str] = ("q_proj", "v_proj")
    dropout: Probability = 0.05
    dropout_per: DropoutPer = "sample"

    def install(self, model: nn.Module) -> Injection:
        """Put the updates into a decoder, in place; they start at zero.

        Raises:
            UserError: the model has no linear map of a name asked for.
        """
        return inject(
            model,
            self.targets,
            lambda site: [
                Static(site.in_features, site.out_features, self.rank, self.alpha, self.dropout, self.dropout_per)
            ],
        )


class Tuned(Shared):
    """What every recommender with LoRA is made with: see `Shared` and `LoRA`."""

    rank: PositiveInt
    alpha: PositiveFloat
    targets: Sequence[str]
    dropout: Probability
    dropout_per: DropoutPer


class LoRATuned(LLMRecommender):
    """A recommender whose backbone has LoRA, in `self.lowrank`.

    Args:
        rank: see `LoRA`, as for `alpha`, `targets`, `dropout` and `dropout_per`.
        lora: what makes the updates of these.
        shared: what every recommender is made with.
    """

    takes_first_stage: ClassVar[bool] = True
    lowrank: Injection

    def __init__(
        self,
        *,
        rank: PositiveInt,
        alpha: PositiveFloat,
        targets: Sequence[str],
        dropout: Probability,
        dropout_per: DropoutPer,
        lora: Callable[..., LoRA] = LoRA,
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        updates = lora(rank=rank, alpha=alpha, targets=targets, dropout=dropout, dropout_per=dropout_per)
        self.lowrank = updates.install(self.backbone.model)


class SecondStage(LoRATuned):
    """A method that adds something to a backbone whose LoRA an earlier stage has trained.

    Args:
        tune_lora: train the low-rank updates here, too; False leaves them as the first stage made them, without
            dropout.
        lora: see `LoRATuned`.
        tuned: what every recommender with LoRA is made with; the updates are the same as the first stage's.
    """

    def __init__(self, *, tune_lora: bool, lora: Callable[..., LoRA] = LoRA, **tuned: Unpack[Tuned]) -> None:
        super().__init__(lora=lora, **tuned)
        self.tune_lora = tune_lora
        self.lowrank.requires_grad_(tune_lora).train(tune_lora)

    def train(self, mode: bool = True) -> "SecondStage":
        """Set the mode of what is trained; frozen updates stay in evaluation mode."""
        super().train(mode)
        if not self.tune_lora:
            self.lowrank.eval()
        return self
