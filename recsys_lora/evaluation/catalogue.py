"""HR@k and NDCG@k over a whole catalogue, where a score is a dot product: no list is sorted, no score matrix kept.

A relevant item's rank is one more than the number of items that score at least as high (ties count against the model,
as in `ranking.py`), so one comparison of its score with a block's row of scores finds it: less work than the twenty
best items of every row, and exact for every k at once. Memory is one block of scores.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ELEMENTS_AT_ONCE = 2**22
"""Scores held at once (16 MB in float32)."""
_LARGEST_COUNT = 2**24
"""Up to which float32 counts by ones."""
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ItemLists:
    """A list of items for each of Q queries.

    Attributes:
        offsets: (Q + 1,) int64; query q's items are `items[offsets[q]:offsets[q + 1]]`.
        items: (n,) int64, numbers from 1.
    """

    offsets: Ints
    items: Ints

    @classmethod
    def of(cls, query: NDArray[Any], item: NDArray[Any], queries: int) -> "ItemLists":
        """Return the lists of pairs (query, item), (n,) each in any order; a pair counts once."""
        pairs = np.unique(np.stack([query, item]).astype(np.int64), axis=1)  # by query, then item
        counts = np.bincount(pairs[0], minlength=queries)
        return cls(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), pairs[1])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def sizes(self) -> Ints:
        """Items of each query (Q,)."""
        return np.diff(self.offsets)

    @property
    def query(self) -> Ints:
        """The query of each item (n,)."""
        return np.repeat(np.arange(len(self)), self.sizes)


@torch.no_grad()
def catalogue_ranks(
    users: Tensor, items: Tensor, relevant: ItemLists, known: ItemLists, elements_at_once: int = ELEMENTS_AT_ONCE
) -> Ints:
    """Return the rank of every relevant item among all items but those known; ties are broken against the model.

    Args:
        users: e_u of Q queries (Q, D).
        items: e_i of the catalogue (N + 1, D), row 0 being padding, on the same device.
        relevant: the items whose ranks are wanted.
        known: the items that are left out of each query's list, none of them relevant to it.
        elements_at_once: scores held at once.

    Returns:
        (n,) ranks from 1, in the order of `relevant.items`.

    Raises:
        ValueError: numbers of queries differ, an item is relevant and known at once, or a vector is not finite.
    """
    if not len(users) == len(relevant) == len(known):
        raise ValueError(f"{len(users)} users, {len(relevant)} lists of relevant and {len(known)} of known items")
    if not all(bool(side.sum(dtype=torch.float64).isfinite()) for side in (users, items)):
        raise ValueError("a vector of users or items is not finite")
    ranks, own = np.zeros(len(relevant.items), dtype=np.int64), np.zeros(len(relevant.items))
    size = max(1, elements_at_once // len(items))
    scores = users.new_empty(min(size, len(users)), len(items))
    for begin in range(0, len(users), size):
        end = min(begin + size, len(users))
        block = torch.mm(users[begin:end], items.T, out=scores[: end - begin])  # (B, N + 1)
        part = slice(*relevant.offsets[[begin, end]])
        row = np.repeat(np.arange(end - begin), relevant.sizes[begin:end])
        wanted = _index(row, block), _index(relevant.items[part], block)
        threshold = block[wanted]  # (n,)
        out = slice(*known.offsets[[begin, end]])
        hidden = np.repeat(np.arange(end - begin), known.sizes[begin:end])
        block[_index(hidden, block), _index(known.items[out], block)] = -torch.inf
        block[:, 0] = -torch.inf
        if bool((block[wanted] == -torch.inf).any()):
            raise ValueError("an item is relevant to a query and known to it at once")
        ranks[part] = _at_least(block, row, threshold)
        own[part] = threshold.double().cpu().numpy()
    return ranks - _tied_before(relevant.query, own)


def hit_rate_at(ranks: Ints, relevant: ItemLists, k: int) -> Floats:
    """Return, (Q,), 1.0 where a relevant item is among the first k, else 0.0; NaN where nothing is relevant."""
    hits = np.bincount(relevant.query, weights=ranks <= k, minlength=len(relevant))
    return np.where(relevant.sizes > 0, (hits > 0).astype(np.float64), np.nan)


def ndcg_at(ranks: Ints, relevant: ItemLists, k: int) -> Floats:
    """Return each query's NDCG@k, (Q,), every relevant item gaining 1; NaN where nothing is relevant."""
    gain = np.bincount(
        relevant.query, weights=np.where(ranks <= k, 1 / np.log2(ranks + 1.0), 0.0), minlength=len(relevant)
    )
    best = np.cumsum(1 / np.log2(np.arange(2, k + 2)))  # of 1 to k relevant items
    sizes = relevant.sizes
    return np.where(sizes > 0, gain / best[np.clip(sizes, 1, k) - 1], np.nan)


def _index(numbers: Ints, like: Tensor) -> Tensor:
    return torch.from_numpy(numbers).to(like.device)


def _at_least(block: Tensor, row: Ints, threshold: Tensor) -> Ints:
    """Return how many scores (n,) of the rows `row` (n,) of a block (B, N + 1) are not below `threshold` (n,).

    The block is overwritten where that spares a copy: with one threshold a row, in the rows' order.
    """
    rows, own = _index(row, block), np.array_equal(row, np.arange(len(block)))
    exact = torch.float64 if block.dtype == torch.float64 or block.shape[1] > _LARGEST_COUNT else torch.float32
    found = [
        # Ones and zeros of the scores' own kind are made and summed in a third of the time of booleans.
        (block if own else block[part]).ge_(values[:, None]).sum(1, dtype=exact)
        for part, values in zip(torch.split(rows, len(block)), torch.split(threshold, len(block)), strict=True)
    ]
    counts: Ints = torch.cat(found).cpu().numpy().astype(np.int64)
    return counts


def _tied_before(query: Ints, score: Floats) -> Ints:
    """Return how many relevant items of the same query and score come before each (n,): they do not share a rank."""
    order = np.lexsort((score, query))
    query, score = query[order], score[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (query[1:] != query[:-1]) | (score[1:] != score[:-1])
    place = np.arange(len(order))
    before = np.empty(len(order), dtype=np.int64)
    before[order] = place - np.maximum.accumulate(np.where(new, place, 0))
    return before
