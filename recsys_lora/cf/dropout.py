"""Dropout that draws one random byte a number: on a CPU the usual draw costs more than SASRec's matrix products."""

import torch
from torch import Tensor, nn

_LEVELS = 256


class ByteDropout(nn.Module):
    """Zeroes each number with probability `p`, rounded to 1/256, and scales the others so that the mean stays."""

    def __init__(self, p: float) -> None:
        """Take the rate, in [0, 1)."""
        super().__init__()
        self.dropped_levels = min(round(p * _LEVELS), _LEVELS - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return x (any shape) with numbers dropped while training, x itself otherwise."""
        if not self.training or self.dropped_levels == 0:
            return x
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device).random_(-(2**63), None)
        kept = (words.view(torch.uint8)[: x.numel()] >= self.dropped_levels).view(x.shape)
        return x * (kept * (_LEVELS / (_LEVELS - self.dropped_levels)))
