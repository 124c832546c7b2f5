"""Treats users and items as unseen in some training rows, so that a method learns to handle unseen ones.

The encoder gives an unseen id's vectors; the prompt's text and the history stay. The chosen rows depend only on the
seed, the epoch and the row's index among the training questions, not on batches, processes or devices.
"""

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from recsys_lora.cf.table import UNKNOWN
from recsys_lora.data.batch import PromptBatch

USER, ITEM = 0, 1


@dataclass(frozen=True)
class Masking:
    """Shares of the training rows with an unseen user, and with an unseen item, drawn independently.

    Attributes:
        users: from 0 to 1.
        items: likewise; if a prompt shows several candidates, all or none of them are unseen.
    """

    users: float = 0.0
    items: float = 0.0

    def __bool__(self) -> bool:
        return self.users > 0 or self.items > 0

    def __call__(self, batch: PromptBatch, seed: int, epoch: int) -> PromptBatch:
        """Return a training batch with masked users and items."""
        if not self:
            return batch
        user = uniform(batch.index, seed, epoch, USER) < self.users  # (B,)
        item = (uniform(batch.index, seed, epoch, ITEM) < self.items).unsqueeze(1) & (batch.items != 0)  # (B, C)
        return replace(batch, user=batch.user.masked_fill(user, UNKNOWN), items=batch.items.masked_fill(item, UNKNOWN))


def uniform(index: Tensor, *key: int) -> Tensor:
    """Return a float64 in [0, 1) for each index (n,), which depends only on the index and `key`.

    Source: SplitMix64's output function (Steele, Lea and Flood, OOPSLA 2014) at position `index` of a stream of `key`.
    """
    start, step, first, second = (
        int(np.array(value, dtype=np.uint64).view(np.int64))
        for value in (
            np.random.SeedSequence(key).generate_state(1, np.uint64)[0],
            0x9E3779B97F4A7C15,
            0xBF58476D1CE4E5B9,
            0x94D049BB133111EB,
        )
    )
    x = index * step + start  # modulo 2^64, as all products below
    x = (x ^ _right(x, 30)) * first
    x = (x ^ _right(x, 27)) * second
    return _right(x ^ _right(x, 31), 11).double() * 2.0**-53


def _right(x: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros, as for unsigned integers."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
