"""How a fitted encoder's vectors lie, measured on rows."""

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from recsys_lora.cf.encoder import CollaborativeEncoder
from recsys_lora.data.prepared import PreparedData, Rows

LARGEST_SAMPLE = 20_000


@torch.no_grad()
def encode_rows(
    encoder: nn.Module, data: PreparedData, rows: Rows, device: torch.device | str = "cpu", batch_rows: int = 4096
) -> tuple[Tensor, Tensor]:
    """Return (e_u (n, D_u), e_i (n, D_i)) of rows, on the CPU."""
    model = cast(CollaborativeEncoder, encoder)
    history = data.history.last(rows.user, rows.position, model.history_length)
    columns = [torch.from_numpy(column) for column in (rows.user, history, rows.item)]
    encoder.to(device)
    parts = [
        model.encode(*(column[begin : begin + batch_rows].to(device) for column in columns))
        for begin in range(0, len(rows), batch_rows)
    ]
    return torch.cat([user.float().cpu() for user, _ in parts]), torch.cat([item.float().cpu() for _, item in parts])


def vector_spread(
    encoder: nn.Module, data: PreparedData, rows: Rows, device: torch.device | str = "cpu"
) -> tuple[float, float]:
    """Return the standard deviation of all entries of e_u and of e_i over rows (evenly taken where there are many)."""
    if len(rows) > LARGEST_SAMPLE:
        rows = rows.take(np.linspace(0, len(rows) - 1, LARGEST_SAMPLE).astype(np.int64))
    user, item = encode_rows(encoder, data, rows, device)
    return float(user.std()), float(item.std())
