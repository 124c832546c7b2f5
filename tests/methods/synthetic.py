"""A data set whose titles carry nothing: only the collaborative vectors know a row's label."""

from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import nn

from recsys_lora.data.prepared import PreparedData

WORDS = {"item": "movie", "items": "movies"}


class TableEncoder(nn.Module):
    """Fixed random vectors by user and item number; a fitted encoder's stand-in."""

    history_length = 3

    def __init__(self, num_users: int, num_items: int, dim: int, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.user_dim = self.item_dim = dim
        self.users = nn.Parameter(torch.randn(num_users + 1, dim, generator=generator), requires_grad=False)
        self.items = nn.Parameter(torch.randn(num_items + 1, dim, generator=generator), requires_grad=False)

    def grow(self, users, items):
        for table, more in ((self.users, users), (self.items, items)):
            table.data = torch.nn.functional.pad(table.data, (0, 0, 0, more))

    def encode(self, user, history, item):
        return self.users[user], self.items[item]

    def score(self, user, history, item):
        return (self.users[user] * self.items[item]).sum(-1)

    def score_candidates(self, user, history, items):
        return (self.users[user].unsqueeze(1) * self.items[items]).sum(-1)


def prepared(users: int = 200, items: int = 200, rows_each: int = 24, dim: int = 4, seed: int = 0, titles=None):
    """Return (data, encoder): the label is the sign of e_u · e_i; of a user's rows two sixths are valid and test."""
    encoder = TableEncoder(users, items, dim, seed)
    generator = np.random.default_rng(seed)
    user = np.repeat(np.arange(1, users + 1), rows_each)
    item = np.concatenate([generator.permutation(items)[:rows_each] + 1 for _ in range(users)])
    score = encoder.score(torch.from_numpy(user), None, torch.from_numpy(item)).numpy()
    place = np.tile(np.arange(rows_each), users)
    split = np.where(place < rows_each * 2 // 3, "train", np.where(place < rows_each * 5 // 6, "valid", "test"))
    interactions = pl.DataFrame(
        {
            "user_id": [f"u{number}" for number in user],
            "item_id": [f"i{number}" for number in item],
            "user": user,
            "item": item,
            "rating": np.where(score > 0, 5.0, 1.0).astype(np.float32),
            "label": (score > 0).astype(np.int8),
            "timestamp": np.arange(len(user)),
            "split": split,
        }
    )
    numbers = range(1, items + 1)
    # One title for all: nothing can be read from it.
    table = pl.DataFrame(
        {"item_id": [f"i{n}" for n in numbers], "item": list(numbers), "title": titles or ["Film"] * items}
    )
    manifest = {"key": f"synthetic-{seed}", "name": "synthetic", "split": {"split": "user_time"}}
    return PreparedData(Path("nowhere"), manifest, interactions, table), encoder


def coded(width: int = 8, users: int = 100, items: int = 100, rows_each: int = 24, titles=None):
    """Return (data, encoder): the label is whether the two codes of `width` bits are equal; all bits of a code are."""
    data, encoder = prepared(users=users, items=items, rows_each=rows_each, dim=1, titles=titles)
    for name in ("users", "items"):
        codes = torch.where(getattr(encoder, name) >= 0, 1.0, -1.0).repeat(1, width)
        setattr(encoder, name, nn.Parameter(codes, requires_grad=False))
    encoder.user_dim = encoder.item_dim = width
    return data, encoder


def decided_by_users(**sizes):
    """Return (data, encoder): users of odd number like all items, the others none."""
    data, encoder = prepared(**sizes)
    label = (data.interactions["user"].to_numpy() % 2).astype(np.int8)
    interactions = data.interactions.with_columns(label=pl.Series(label))
    return PreparedData(data.folder, data.manifest, interactions, data.items), encoder
