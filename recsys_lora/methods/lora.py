"""LoRA on a frozen backbone, as in TALLRec, CoLLM and BinLLM: its settings, and the base classes of such methods."""

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
    """Low-rank updates shared by all rows (Hu et al., 2021, arXiv 2106.09685).

    Attributes:
        rank: R.
        alpha: updates are scaled by alpha / R.
        targets: the linear maps adapted in every block, by the last part of their names.
        dropout: share of an update's input features dropped in training.
        dropout_per: drop a feature for all tokens of a sample, or for each token separately (slower).
    """

    rank: PositiveInt = 8
    alpha: PositiveFloat = 16.0
    targets: Sequence[str] = ("q_proj", "v_proj")
    dropout: Probability = 0.05
    dropout_per: DropoutPer = "sample"

    def install(self, model: nn.Module) -> Injection:
        """Add the updates to a decoder, in place; they start at zero.

        Raises:
            UserError: the model has no linear map with a requested name.
        """
        return inject(
            model,
            self.targets,
            lambda site: [
                Static(site.in_features, site.out_features, self.rank, self.alpha, self.dropout, self.dropout_per)
            ],
        )


class Tuned(Shared):
    """Arguments of all recommenders with LoRA: see `Shared` and `LoRA`."""

    rank: PositiveInt
    alpha: PositiveFloat
    targets: Sequence[str]
    dropout: Probability
    dropout_per: DropoutPer


class LoRATuned(LLMRecommender):
    """A recommender whose backbone has LoRA, in `self.lowrank`.

    Args:
        rank: see `LoRA`, also for `alpha`, `targets`, `dropout` and `dropout_per`.
        lora: creates the updates from these.
        shared: arguments of all recommenders.
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
    """A method that adds something to a backbone whose LoRA was trained by an earlier stage.

    Args:
        tune_lora: train the low-rank updates, too; False keeps them as trained by the first stage, without dropout.
        lora: see `LoRATuned`.
        tuned: arguments of all recommenders with LoRA; the updates are the same as the first stage's.
    """

    def __init__(self, *, tune_lora: bool, lora: Callable[..., LoRA] = LoRA, **tuned: Unpack[Tuned]) -> None:
        super().__init__(lora=lora, **tuned)
        self.tune_lora = tune_lora
        self.lowrank.requires_grad_(tune_lora).train(tune_lora)

    def train(self, mode: bool = True) -> "SecondStage":
        """Set the mode of the trained parts; frozen updates stay in evaluation mode."""
        super().train(mode)
        if not self.tune_lora:
            self.lowrank.eval()
        return self
