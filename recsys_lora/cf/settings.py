"""How a collaborative encoder is fitted: plain values, checked by their annotations before any stage runs."""

from dataclasses import dataclass
from typing import Literal

from recsys_lora.utils.types import NonNegativeFloat, PositiveFloat, PositiveFraction, PositiveInt

Objective = Literal["bce", "bpr", "sampled_softmax"]
Decay = Literal["l2", "decoupled"]


@dataclass(frozen=True)
class FitSettings:
    """The objective and the optimiser (`cf.fit`).

    Attributes:
        objective: "bce" on labelled rows (rating prediction, the benchmark's), "bpr" or "sampled_softmax" on positive
            rows against items drawn at random (ranking).
        lr: Adam's learning rate.
        weight_decay: strength of the decay, on all parameters.
        decay: "l2" adds it to the gradient (Adam), "decoupled" shrinks the weights (AdamW).
        batch_size: train rows per step.
        negatives: items drawn per positive row; BCE draws none.
        scoring_rows: rows scored at once in validation; affects only memory.
    """

    objective: Objective = "bce"
    lr: PositiveFloat = 1e-3
    weight_decay: NonNegativeFloat = 0.0
    decay: Decay = "l2"
    batch_size: PositiveInt = 2048
    negatives: PositiveInt = 1
    scoring_rows: PositiveInt = 8192


@dataclass(frozen=True)
class TrainerSettings:
    """How long and where the fit runs (`cf.trainer`), in Lightning's terms.

    Attributes:
        max_epochs: upper bound on passes over the train rows.
        max_steps: upper bound on optimiser steps; None for none.
        patience: validations without a better AUC after which the fit stops.
        val_check_interval: validate after this share of an epoch.
        check_val_every_n_epoch: validate only after every n epochs.
        limit_train_batches: steps per epoch (a whole number), a share of them, or None for all.
        gradient_clip_val: largest gradient norm; None for no clipping.
        accelerator: where it runs; "auto" uses a GPU if there is one.
    """

    max_epochs: PositiveInt = 100
    max_steps: PositiveInt | None = None
    patience: PositiveInt = 10
    val_check_interval: PositiveFraction = 1.0
    check_val_every_n_epoch: PositiveInt = 1
    limit_train_batches: PositiveInt | PositiveFraction | None = None
    gradient_clip_val: PositiveFloat | None = None
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
