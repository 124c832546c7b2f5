"""Adds the CF model's own logit to a method's: training starts at the encoder's accuracy and learns the rest.

    s = s_cf + a s_llm + b          a and b learned, `RATE` times as fast as everything else

With a = b = 0 initially, the score of step 0 is exactly the encoder's, whatever the frozen language model says. While a
is zero, the method's own weights get no gradient. If an earlier stage has trained the language model, a larger a starts
from both; b then removes the mean of a s_llm, so that the scores keep the encoder's mean.
The encoder is the fitted one, even if a copy of it is tuned (`model.tune_encoder`): s_cf does not change.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from recsys_lora.cf.encoder import CollaborativeEncoder
from recsys_lora.data.batch import PromptBatch
from recsys_lora.methods.vectors import last

Offset = Literal["none", "cf"]
RATE = 20.0
"""Learning rate of a and b relative to the method's."""


def offset_of(
    asked: Offset, encoder: CollaborativeEncoder | None, soft_only: bool, scale: float = 0.0
) -> "LogitOffset | None":
    """Return the requested offset of a method's logits, None for none; see `LogitOffset`.

    Raises:
        ValueError: there is no encoder whose logit could be added.
    """
    if asked == "none":
        return None
    if encoder is None:
        raise ValueError(f"offset={asked} needs an encoder")
    return LogitOffset(encoder, soft_only, scale)


class LogitOffset(nn.Module):
    """Adds the frozen encoder's logit to that of a language model.

    Args:
        encoder: fitted and frozen.
        soft_only: add nothing for prompts without soft tokens, in methods that also read text-only prompts.
        scale: a before the first step.
    """

    def __init__(self, encoder: CollaborativeEncoder, soft_only: bool, scale: float = 0.0) -> None:
        super().__init__()
        self._encoder = (encoder,)  # a tuple, so that it is not registered here
        self.soft_only = soft_only
        self.scale = nn.Parameter(torch.full((1,), float(scale)))
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, batch: PromptBatch, score: Tensor) -> Tensor:
        """Return the logits (B,) of a batch's yes-or-no questions, given the language model's (B,)."""
        if self.soft_only and not batch.soft_positions.shape[1]:
            return score
        encoder = self._encoder[0]
        with torch.no_grad():
            history = last(batch.history, encoder.history_length)
            own = encoder.score_candidates(batch.user, history, batch.items[:, :1]).squeeze(1).float()  # (B,)
        return own + self.scale * score + self.shift

    @torch.no_grad()
    def centre(self, scores: Tensor) -> None:
        """Set b to -a times the mean of the language model's scores (n,), so that they add zero on average."""
        self.shift.copy_(-self.scale * scores.mean())
