"""An exponential moving average of the trained weights, which is validated, saved and tested in their place.

    average_n = d_n average_{n-1} + (1 - d_n) weights_n,        d_n = min(decay, (1 + n) / (10 + n))

n counts optimiser steps; the average starts at the initial weights and forgets them soon, as d_n starts low. With a
decay of .999 it covers roughly the last thousand steps.
Source: Polyak and Juditsky, SIAM J. Control Optim. 1992, on averages; d_n is that of TensorFlow's
`ExponentialMovingAverage(num_updates)`.

Lightning's `WeightAveraging` copies the whole module, including the frozen backbone, and saves it all in checkpoints.
"""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from recsys_lora.utils.types import Probability

AVERAGE = "average"
"""Key in a checkpoint under which the module finds its averaged weights, by name."""
_WARMUP = 10


class EMA(Callback):
    """Averages the trained weights, and validates the average; checkpoints hold it as the module's weights.

    Args:
        decay: the largest d_n; 0 turns this callback off.

    Attributes:
        average: the averages by parameter name, float32; None before the training.
        updates: n.
    """

    def __init__(self, decay: Probability = 0.0) -> None:
        super().__init__()
        self.decay = decay
        self.average: dict[str, Tensor] | None = None
        self.updates = 0
        self._step = 0
        self._put_away: list[Tensor] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start from the current weights, or continue from a checkpoint's average."""
        self._step = trainer.global_step
        if not self.decay:
            return
        own = dict(_trained(pl_module))
        if self.average is None:
            self.average = {name: weight.detach().float().clone() for name, weight in own.items()}
        else:
            self.average = {name: self.average[name].to(weight.device) for name, weight in own.items()}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the average after an optimiser step."""
        if self.average is None or trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (_WARMUP + self.updates))
        with torch.no_grad():
            weights = [weight.detach().float() for _, weight in _trained(pl_module)]
            torch._foreach_lerp_(list(self.average.values()), weights, 1 - decay)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace the weights by the average."""
        if self.average is not None:
            self._put_away = [weight.detach().clone() for _, weight in _trained(pl_module)]
            _fill(pl_module, list(self.average.values()))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the weights back; checkpoints are written after this."""
        if self._put_away is not None:
            _fill(pl_module, self._put_away)
            self._put_away = None

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Hand the average to the module."""
        if self.average is not None:
            checkpoint[AVERAGE] = {name: self.average[name].to(weight.dtype) for name, weight in _trained(pl_module)}

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs to continue averaging."""
        return {} if self.average is None else {"average": self.average, "updates": self.updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the average, if this run has one."""
        if self.decay:
            self.average, self.updates = state_dict["average"], state_dict["updates"]


def _trained(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]


def _fill(module: nn.Module, values: list[Tensor]) -> None:
    with torch.no_grad():
        for (_, parameter), value in zip(_trained(module), values, strict=True):
            parameter.copy_(value)
