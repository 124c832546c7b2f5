"""CKF's curriculum from text only to collaborative tokens, applied to learning rates.

    lambda(t) = 1 / (1 + exp(8 (t - b) / b)),  b = T / 2        t: step, T: steps of the budget

The paper weights the two losses, lambda · L_text + (1 - lambda) · L_collaborative, the first for the low-rank updates
and the second for the mapping. Adam divides out a slowly varying weight, parameter by parameter, so it would have
almost no effect. By default, the losses are therefore unweighted and the *learning rates* of the two groups are scaled:
lambda for the low-rank updates, 1 - lambda for the mapping; `weighted` is the paper's. Each loss trains only its own
group.

Source: CKF, TKDE 2025, arXiv 2410.20642.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from annotated_types import Interval

from recsys_lora.utils.types import Fraction, PositiveFloat

Curriculum = Literal["sigmoid", "weighted", "two_stage", "joint", "collaborative"]


class Shares(NamedTuple):
    """A value for each of the two trained groups."""

    lowrank: float
    mapping: float


@dataclass(frozen=True)
class Objective:
    """Which loss trains what, and when.

    Attributes:
        curriculum: `sigmoid` scales learning rates by lambda, as above; `weighted` scales the losses by lambda, at full
            learning rates, as in the paper; `two_stage` trains the low-rank updates first and then the mapping; in
            `joint` both losses always train the low-rank updates, at full learning rates; `collaborative` is `joint`
            without the text-only prompts, at half its cost.
        steepness: the 8 of the formula.
        middle: b / T, where the halves have equal weight, or switch.
        skip_below: a half whose share of the learning rate is below this is not computed, and its parameters rest: a
            step then costs half as much. At the defaults these are the first and the last fifth of all steps, where
            the half would train at less than a hundredth of its learning rate. 0 always computes both.
        mapping_lr: the mapping's learning rate relative to that of the low-rank updates.
    """

    curriculum: Curriculum = "sigmoid"
    steepness: PositiveFloat = 8.0
    middle: Annotated[float, Interval(gt=0, lt=1)] = 0.5
    skip_below: Fraction = 0.01
    mapping_lr: PositiveFloat = 1.0

    @property
    def separate(self) -> bool:
        """Whether each loss trains only one group."""
        return self.curriculum in ("sigmoid", "weighted", "two_stage")

    def weight(self, progress: float) -> float:
        """Return lambda, the text half's weight, at t / T; always .5 if both halves count alike."""
        if not self.separate:
            return 0.5 if self.curriculum == "joint" else 0.0
        if self.curriculum == "two_stage":
            return float(progress < self.middle)
        exponent = self.steepness * (progress - self.middle) / self.middle
        return 1 / (1 + math.exp(min(exponent, 700.0)))  # exp overflows above 709

    def computed(self, progress: float) -> dict[str, bool]:
        """Return which halves a step at t / T computes: those that train something."""
        shares = self.shares(progress)
        return {"text": shares.lowrank > 0 and self.curriculum != "collaborative", "collaborative": shares.mapping > 0}

    def loss_weights(self, progress: float) -> dict[str, float]:
        """Return the factor of each half's loss at t / T."""
        weighted, weight = self.curriculum == "weighted", self.weight(progress)
        return {"text": weight if weighted else 1.0, "collaborative": 1 - weight if weighted else 1.0}

    def shares(self, progress: float) -> Shares:
        """Return each group's share of its learning rate at t / T; 0 if its half is not computed."""
        if not self.separate or self.curriculum == "weighted":
            return Shares(1.0, self.mapping_lr)
        weight = self.weight(progress)
        lowrank, mapping = (share if share >= self.skip_below else 0.0 for share in (weight, 1 - weight))
        return Shares(lowrank, mapping * self.mapping_lr)
