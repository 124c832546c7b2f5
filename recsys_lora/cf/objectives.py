"""The losses: point-wise on labelled rows, or positives against items drawn at random.

bce              -[y log σ(s) + (1-y) log(1-σ(s))]
bpr              -log σ(s⁺ - s⁻), mean over the drawn items          (Rendle et al., UAI 2009)
sampled_softmax  -log softmax([s⁺, s⁻_1, ..., s⁻_n])[0]
"""

import torch
from torch import Tensor
from torch.nn import functional

from recsys_lora.cf.encoder import CollaborativeEncoder


def pointwise(encoder: CollaborativeEncoder, user: Tensor, history: Tensor, item: Tensor, label: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of the rows' logits against labels (B,) in {0, 1}."""
    return functional.binary_cross_entropy_with_logits(encoder.score(user, history, item), label)


def _against(
    encoder: CollaborativeEncoder, user: Tensor, history: Tensor, item: Tensor, negatives: Tensor
) -> tuple[Tensor, Tensor]:
    scores = encoder.score_candidates(user, history, torch.cat([item.unsqueeze(1), negatives], 1))  # (B, 1 + n)
    return scores[:, :1], scores[:, 1:]


def bpr(encoder: CollaborativeEncoder, user: Tensor, history: Tensor, item: Tensor, negatives: Tensor) -> Tensor:
    """Return the mean of -log σ(s⁺ - s⁻) over positive rows (B,) and their `negatives` (B, n)."""
    positive, negative = _against(encoder, user, history, item, negatives)
    return -functional.logsigmoid(positive - negative).mean()


def sampled_softmax(
    encoder: CollaborativeEncoder, user: Tensor, history: Tensor, item: Tensor, negatives: Tensor
) -> Tensor:
    """Return the mean cross-entropy of each positive among itself and its `negatives` (B, n).

    A negative that is the positive itself by chance is left out of its row's sum.
    """
    positive, negative = _against(encoder, user, history, item, negatives)
    negative = negative.masked_fill(negatives == item.unsqueeze(1), -torch.inf)
    return (torch.cat([positive, negative], 1).logsumexp(1) - positive.squeeze(1)).mean()


def draw_items(pool: Tensor, rows: int, count: int) -> Tensor:
    """Draw `count` items a row, uniformly from `pool` (the items seen in train), with repetition: (rows, count)."""
    return pool[torch.randint(len(pool), (rows, count), device=pool.device)]
