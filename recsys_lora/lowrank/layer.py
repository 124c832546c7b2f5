"""The low-rank layer: y = W0 x + Σ_s scale_s · P_s (A_s^T dropout(x)), summed over the layer's sources."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from recsys_lora.lowrank.shared_input import SharedInput
from recsys_lora.lowrank.source import Source
from recsys_lora.lowrank.state import StateSlot


def linear_shape(module: nn.Module) -> tuple[int, int] | None:
    """Return (in_features, out_features) of a linear map, None for any other module.

    Supported are `nn.Linear`, any class with `Linear` in its name and both widths (quantised layers), and GPT-2's
    `Conv1D`, whose weight is stored transposed.
    """
    if isinstance(module, Conv1D):
        return int(module.weight.shape[0]), int(module.weight.shape[1])
    if not isinstance(module, nn.Linear) and "Linear" not in type(module).__name__:
        return None
    width, out_width = getattr(module, "in_features", None), getattr(module, "out_features", None)
    return None if width is None or out_width is None else (width, out_width)


class LowRankLinear(nn.Module):
    """A frozen linear map with low-rank updates.

    The sources belong to the `Injection` that made this layer and are not registered here: the model's own parameters,
    train/eval mode and state dict stay as they were, except that the map's own names get the prefix `base`.

    Args:
        base: the frozen map: `nn.Linear`, GPT-2's `Conv1D` or a quantised linear layer.
        sources: where the factors come from; their updates are summed.
        slot: where the batch's factors are found.
        readers: the layers that may read the same input; None: this one alone.
    """

    def __init__(
        self, base: nn.Module, sources: Sequence[Source], slot: StateSlot, readers: SharedInput | None = None
    ) -> None:
        super().__init__()
        self.base = base
        self.sources = tuple(sources)
        self.slot = slot
        self.readers = readers or SharedInput()
        self.number = self.readers.join(self.sources)
        # These two return a new tensor that nothing else holds, so the update can be added in place. A quantised
        # layer may keep its output.
        self._in_place = type(base) in (nn.Linear, Conv1D)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, T, in) to (B, T, out)."""
        here = self.slot.here
        updates = self.readers.updates(self.number, x, here.state) if here.enabled else []
        if not updates:
            y: Tensor = self.base(x)
            return y
        y = self.base(x.flatten(0, 1))  # (B·T, out), no view: an in-place sum on a view is slow in autograd
        for scale, u, rows in updates:
            y = self._add(y, scale, u.to(y.dtype), rows.to(y.dtype))
        return y.view(*x.shape[:-1], -1)

    def _add(self, y: Tensor, scale: float, u: Tensor, rows: Tensor) -> Tensor:
        """Return y (B·T, out) + scale · u P^T for u (B, T, R) and P^T, (R, out) or (B, R, out)."""
        if rows.dim() == 3:
            return torch.baddbmm(y.view(*u.shape[:-1], -1), u, rows, alpha=scale).flatten(0, 1)
        if self._in_place:
            return y.addmm_(u.flatten(0, 1), rows, alpha=scale)
        return torch.addmm(y, u.flatten(0, 1), rows, alpha=scale)
