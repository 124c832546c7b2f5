"""One AdamW over two groups of parameters, whose learning rates follow the curriculum."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from recsys_lora.methods.ckf.objective import Objective
from recsys_lora.methods.optimizer import OptimizerSettings
from recsys_lora.utils.errors import UserError


def optimizer_and_schedule(
    settings: OptimizerSettings,
    objective: Objective,
    lowrank: Iterable[nn.Parameter],
    mapping: Iterable[nn.Parameter],
    steps: float,
    fused: bool = True,
    rates: Mapping[nn.Parameter, float] | None = None,
) -> dict[str, Any]:
    """Return the optimiser and its schedule, which multiplies warm-up and decay with each group's share.

    Args:
        settings: of both groups.
        objective: says the shares.
        lowrank: the low-rank updates' parameters.
        mapping: the mapping's.
        steps: of the whole budget.
        fused: see `may_be_fused`.
        rates: learning rates of some parameters over those of their group.

    Raises:
        UserError: the budget has no end, which a curriculum needs.
    """
    if objective.separate and not math.isfinite(steps):
        raise UserError(
            f"model.objective.curriculum={objective.curriculum}: needs an end to go towards: "
            "set trainer.max_steps or trainer.max_epochs, or curriculum=joint"
        )
    groups: list[dict[str, Any]] = []
    factors: list[Callable[[int], float]] = []
    for number, parameters in enumerate((lowrank, mapping)):
        own = settings.groups(parameters, rates)

        def rate(step: int, number: int = number) -> float:
            progress = step / steps if math.isfinite(steps) else 0.0
            return settings.lr_factor(step, steps) * objective.shares(progress)[number]

        groups += own
        factors += [rate] * len(own)
    optimizer = settings.over(groups, fused)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factors)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step", "name": "lr"}}


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Return the 2-norm of these parameters' gradients together, as a float32 scalar; 0 where there are none."""
    return torch.nn.utils.get_total_norm([p.grad.detach() for p in parameters if p.grad is not None])


def zero_dependency(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Return a zero that depends on all of the parameters, for processes that wait for each one's gradient."""
    return sum((0 * parameter.sum() for parameter in parameters), torch.zeros(()))
