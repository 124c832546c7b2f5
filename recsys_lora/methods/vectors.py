"""Encode rows with a collaborative encoder, and scale its vectors."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from recsys_lora.cf.encoder import CollaborativeEncoder
from recsys_lora.cf.inference import device_of, evaluating
from recsys_lora.data.history import Pairs, UserItems
from recsys_lora.data.prepared import PreparedData
from recsys_lora.utils.errors import UserError

InputScale = Literal["none", "std"]
"""Whether e_u and e_i are divided by the standard deviation of their entries over the training rows."""
_LARGEST_SAMPLE, _ROWS_AT_ONCE = 20_000, 4096


class VectorScale(nn.Module):
    """Divides e_u and e_i by one number each, measured before training and saved with the trained parameters.

    Args:
        scale: `none` leaves the vectors unchanged.
        noise: standard deviation of the normal noise added to their scaled entries in training.
    """

    user: Tensor
    item: Tensor

    def __init__(self, scale: InputScale, noise: float = 0.0) -> None:
        super().__init__()
        self.scale = scale
        self.noise = noise
        self.register_buffer("user", torch.ones(()))
        self.register_buffer("item", torch.ones(()))

    def measure(self, encoder: CollaborativeEncoder, data: PreparedData, rows: UserItems) -> None:
        """Measure the standard deviation of an encoder's vectors over training rows, as `_vector_std` does."""
        if self.scale == "std":
            user, item = _vector_std(encoder, data, rows)
            self.user.fill_(user)
            self.item.fill_(item)

    def forward(self, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """Return scaled e_u (..., D_u) and e_i (..., D_i), with noise in training."""
        return self._noisy(user / self.user), self._noisy(item / self.item)

    def _noisy(self, vectors: Tensor) -> Tensor:
        if not self.training or not self.noise:
            return vectors
        return vectors + self.noise * torch.randn_like(vectors)


@torch.no_grad()
def encode_rows(encoder: CollaborativeEncoder, data: PreparedData, rows: UserItems) -> tuple[Tensor, Tensor]:
    """Return (e_u (n, D_u), e_i (n, D_i)) of rows, on the CPU; the encoder is not moved."""
    device = device_of(encoder)
    history = data.history.last(rows.user, rows.position, encoder.history_length)
    columns = [torch.from_numpy(column) for column in (rows.user, history, rows.item)]
    parts = [
        encoder.encode(*(column[begin : begin + _ROWS_AT_ONCE].to(device) for column in columns))
        for begin in range(0, len(rows.user), _ROWS_AT_ONCE)
    ]
    return torch.cat([user.float().cpu() for user, _ in parts]), torch.cat([item.float().cpu() for _, item in parts])


def _vector_std(encoder: CollaborativeEncoder, data: PreparedData, rows: UserItems) -> tuple[float, float]:
    """Return the standard deviations of all entries of e_u and e_i in evaluation mode, over rows or a sample."""
    if len(rows.user) > _LARGEST_SAMPLE:
        chosen = np.linspace(0, len(rows.user) - 1, _LARGEST_SAMPLE).astype(np.int64)
        rows = Pairs(rows.user[chosen], rows.item[chosen], rows.position[chosen])
    with evaluating(encoder):
        user, item = encode_rows(encoder, data, rows)
    std = float(user.std()), float(item.std())
    if not min(std) > 0:
        raise UserError("cf: all vectors of the encoder are the same on the training rows: refit it (stage.force=[cf])")
    return std


def encode_candidates(
    encoder: CollaborativeEncoder, user: Tensor, history: Tensor, items: Tensor, history_length: int = 0
) -> tuple[Tensor, Tensor]:
    """Encode several candidates per row, and earlier items.

    Args:
        encoder: the frozen encoder.
        user: (B,).
        history: (B, L), oldest first, padded with 0 on the left; the encoder sees only the last items that it reads.
        items: candidates (B, C), padded with 0.
        history_length: how many of the latest earlier items to encode.

    Returns:
        e_u (B, D_u), the mean over the candidates if it depends on them, and e_i (B, C + history_length, D_i) of the
        candidates followed by the earlier items; float32, zero at padding.
    """
    if items.shape[1] == 1 and not history_length:
        e_u, e_i = encoder.encode(user, last(history, encoder.history_length), items[:, 0])
        return e_u.float(), e_i.unsqueeze(1).float()
    every = torch.cat([items, last(history, history_length)], dim=1)  # (B, C + L)
    width = every.shape[1]
    seen = last(history, encoder.history_length)
    # Padding is encoded, too, and removed: counting the real items would make the host wait for the device.
    repeated, seen = (part.repeat_interleave(width, 0) for part in (user, seen))
    encoded = encoder.encode(repeated, seen, every.flatten())
    real = (every != 0).unsqueeze(-1)  # (B, C + L, 1)
    users, vectors = (part.float().view(*every.shape, -1).where(real, 0.0) for part in encoded)
    count = (items != 0).sum(1, keepdim=True)  # (B, 1)
    return users[:, : items.shape[1]].sum(1) / count, vectors


def mean_of_present(vectors: Tensor, present: Tensor) -> Tensor:
    """Return the mean (B, D) of the vectors (B, L, D) that are `present` (B, L); 0 if none is."""
    kept = vectors * present.unsqueeze(-1)  # (B, L, D)
    return kept.sum(1) / present.sum(1, keepdim=True).clamp(min=1)


def last(history: Tensor, length: int) -> Tensor:
    """Return the last `length` columns of histories (B, L), oldest first."""
    return history[:, max(0, history.shape[1] - length) :]
