"""Small data sets whose right answer is known, in the shape that collaborative filtering reads."""

from dataclasses import dataclass

import numpy as np

from recsys_lora.data.history import History, build_histories
from recsys_lora.data.prepared import Rows


@dataclass(frozen=True)
class MadeData:
    num_users: int
    num_items: int
    history: History
    splits: dict[str, Rows]

    def rows(self, split):
        return self.splits[split]


def from_arrays(user, item, label, split):
    """Rows stand in the order given, users ascending."""
    user, item, split = np.asarray(user, dtype=np.int64), np.asarray(item, dtype=np.int64), np.asarray(split)
    label = np.asarray(label, dtype=np.float32)
    num_users, num_items = int(user.max()), int(item.max())
    history, position = build_histories(user, item, label > 0, num_users)
    n = len(user)
    train = split == "train"
    seen = np.isin(user, user[train]) & np.isin(item, item[train])
    rows = Rows(np.arange(n), user, item, label, label * 4 + 1, np.arange(n), position, seen)
    return MadeData(num_users, num_items, history, {s: rows.take(split == s) for s in ("train", "valid", "test")})


def checkerboard(users=40, items=30, seed=0):
    """A user likes an item if both numbers are even or both odd; the split is random, so all ids occur in train."""
    draw = np.random.default_rng(seed)
    user = np.repeat(np.arange(1, users + 1), items)
    item = np.concatenate([draw.permutation(items) + 1 for _ in range(users)])
    split = draw.choice(["train", "valid", "test"], len(user), p=[0.7, 0.15, 0.15])
    return from_arrays(user, item, user % 2 == item % 2, split)


def with_strangers():
    """User 4 and item 5 occur in validation only; user 3 has no positive row in train."""
    user = [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4, 4]
    item = [1, 2, 3, 5, 2, 3, 4, 5, 1, 4, 5, 1, 5]
    label = [1, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0]
    split = ["train"] * 3 + ["valid"] + ["train"] * 3 + ["valid"] + ["train"] * 2 + ["valid"] * 3
    return from_arrays(user, item, label, split)
