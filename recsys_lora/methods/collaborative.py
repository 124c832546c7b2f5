"""The collaborative encoder alone: the baseline that every method using it has to beat."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from recsys_lora.cf.fit import score_rows
from recsys_lora.data.prepared import PreparedData, Rows


class CollaborativeOnly:
    """Scores rows with a fitted encoder; there is nothing left to train.

    Args:
        name: what tables call it.
        encoder: the fitted collaborative encoder.
    """

    needs_backbone: ClassVar[bool] = False
    needs_encoder: ClassVar[bool] = True
    trains: ClassVar[bool] = False

    def __init__(self, *, name: str, encoder: nn.Module) -> None:
        self.name, self.encoder = name, encoder

    def score_rows(self, data: PreparedData, rows: Rows) -> NDArray[np.float64]:
        """Return the encoder's logits (n,) of `rows`, in their order."""
        return score_rows(self.encoder, rows, data.history)
