"""AdamW with warm-up and decay of the learning rate, by default until the end of the budget."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Len
from torch import nn

from recsys_lora.utils.errors import UserError
from recsys_lora.utils.types import Fraction, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Probability

OptimizerPart = tuple[Iterable[nn.Parameter], Callable[[int], float]]
"""Parameters, and the factor of their learning rate at a step, besides warm-up and decay."""


@dataclass(frozen=True)
class OptimizerSettings:
    """How a method is trained.

    Attributes:
        lr: the learning rate after warm-up.
        schedule: how it decays after warm-up.
        horizon_steps: the step at which decay ends; None is the end of the budget. A run that ends earlier sees only
            the beginning of the schedule; after it the rate stays constant.
        warmup_steps: steps until the full learning rate.
        max_warmup_fraction: warm-up takes no more than this share of the schedule.
        initial_lr_fraction: the learning rate of step 0, relative to the full one.
        final_lr_fraction: the final learning rate, relative to the full one.
        weight_decay: decoupled; parameters with fewer than two dimensions have none.
        betas: AdamW's decay rates of the gradient's mean and mean square.
        eps: AdamW's epsilon.
    """

    lr: PositiveFloat = 1e-3
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    horizon_steps: PositiveInt | None = None
    warmup_steps: NonNegativeInt = 200
    max_warmup_fraction: Fraction = 0.1
    initial_lr_fraction: Fraction = 0.01
    final_lr_fraction: Fraction = 0.0
    weight_decay: NonNegativeFloat = 1e-3
    betas: Annotated[Sequence[Probability], Len(2, 2)] = (0.9, 0.999)
    eps: PositiveFloat = 1e-8

    def optimizer_and_schedule(
        self,
        parts: Iterable[OptimizerPart],
        steps: float,
        fused: bool = True,
        rates: Mapping[nn.Parameter, float] | None = None,
    ) -> dict[str, Any]:
        """Return AdamW and its schedule over `steps`, as `LightningModule.configure_optimizers` does."""

        def times(share: Callable[[int], float]) -> Callable[[int], float]:
            return lambda step: self.lr_factor(step, steps) * share(step)

        groups: list[dict[str, Any]] = []
        factors: list[Callable[[int], float]] = []
        for parameters, share in parts:
            own = self.groups(parameters, rates)
            groups += own
            factors += [times(share)] * len(own)
        optimizer = self.optimizer(groups, fused)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factors)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step", "name": "lr"}}

    def groups(
        self, parameters: Iterable[nn.Parameter], rates: Mapping[nn.Parameter, float] | None = None
    ) -> list[dict[str, Any]]:
        """Return AdamW's groups of the parameters that require gradients, each with one weight decay and learning rate.

        Args:
            parameters: all or some of a method's parameters.
            rates: the learning rates of some of them, relative to `lr`.
        """
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for parameter in (parameter for parameter in parameters if parameter.requires_grad):
            decay = self.weight_decay if parameter.dim() >= 2 else 0.0
            rate = (rates or {}).get(parameter, 1.0)
            groups.setdefault((decay, self.lr * rate), []).append(parameter)
        first = sorted(groups.items(), key=lambda group: group[0][1] != self.lr)  # loggers show its rate
        return [{"params": own, "weight_decay": decay, "lr": lr} for (decay, lr), own in first]

    def optimizer(self, groups: list[dict[str, Any]], fused: bool = True) -> torch.optim.AdamW:
        """Return AdamW over `groups`; if fused, it updates all parameters of a group in one operation."""
        beta1, beta2 = self.betas
        return torch.optim.AdamW(groups, lr=self.lr, betas=(beta1, beta2), eps=self.eps, fused=fused)

    def lr_factor(self, step: int, steps: float) -> float:
        """Return the learning rate of a step, relative to the full one.

        Args:
            step: from 0.
            steps: steps of the whole budget; if infinite, the rate decays only with a horizon.
        """
        steps = self.horizon_steps or steps
        most = int(self.max_warmup_fraction * steps) if math.isfinite(steps) else self.warmup_steps
        warmup = min(self.warmup_steps, most)
        if step < warmup:
            return self.initial_lr_fraction + (1 - self.initial_lr_fraction) * step / warmup
        if self.schedule == "constant" or not math.isfinite(steps):
            return 1.0
        done = min(1.0, (step - warmup) / max(1, steps - warmup))
        left = 1 - done if self.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
        return self.final_lr_fraction + (1 - self.final_lr_fraction) * left


def planned_steps(trainer: Any, batches: int) -> float:
    """Return the optimiser steps of a trainer's whole budget; infinite if it has no end.

    `trainer.estimated_stepping_batches` returns the same, but requests the training loader before a checkpoint is
    restored: the loader's state would then never be loaded (Lightning 2.6.6), and a resumed epoch would start over.

    Args:
        trainer: a Lightning trainer.
        batches: batches of an epoch, before the trainer limits them.

    Raises:
        UserError: the interval between validations within an epoch is longer than the epoch.
    """
    limit = trainer.limit_train_batches
    batches = int(batches * limit) if isinstance(limit, float) else min(batches, limit)
    interval = trainer.val_check_interval
    if isinstance(interval, int) and interval > batches and trainer.check_val_every_n_epoch is not None:
        raise UserError(
            f"trainer.val_check_interval={interval} counts batches of one epoch, which has {batches}: lower it, or "
            "count over all epochs with trainer.check_val_every_n_epoch=null"
        )
    steps = math.ceil(batches / trainer.accumulate_grad_batches)
    by_epochs = math.inf if trainer.max_epochs in (None, -1) else steps * trainer.max_epochs
    by_steps = math.inf if trainer.max_steps == -1 else trainer.max_steps
    return float(min(by_epochs, by_steps))


def may_be_fused(trainer: Any) -> bool:
    """Return whether AdamW may be fused under a trainer.

    With a loss scaler (16-mixed precision) it may not: a fused optimiser undoes the scaling itself, so gradients could
    not be clipped before (Lightning refuses it).
    """
    return getattr(trainer.precision_plugin, "scaler", None) is None
