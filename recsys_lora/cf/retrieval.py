"""The best items of the whole catalogue for each user, by an encoder's own score, one block of scores at a time."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys_lora.cf.encoder import CatalogueScorer, CollaborativeEncoder
from recsys_lora.cf.inference import device_of, evaluating
from recsys_lora.data.history import History

ELEMENTS_AT_ONCE = 2**22
"""Scores held at once (16 MB in float32)."""
PAIRS_AT_ONCE = 2**13
"""Pairs that an encoder scores at once if its score is not a dot product."""
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@torch.no_grad()
def retrieve(
    encoder: CollaborativeEncoder,
    users: Ints,
    history: History,
    hidden: Sequence[Ints],
    popularity: Ints,
    k: int,
) -> Iterator[tuple[Ints, Floats]]:
    """Yield each user's best items, best first; among equal scores, the more popular item comes first, then the older.

    Args:
        encoder: on the device where it is to run.
        users: (Q,) numbers.
        history: the histories of all users, read to their ends.
        hidden: items to leave out, for each user.
        popularity: how often each item occurs in train (N + 1,).
        k: the most items per user.

    Yields:
        Items (up to k,) and their logits, user by user.
    """
    size = max(1, ELEMENTS_AT_ONCE // len(popularity))
    device = device_of(encoder)
    for begin in range(0, len(users), size):
        part = users[begin : begin + size]
        position = np.array([len(history.of(user)) for user in part.tolist()], dtype=np.int64)
        read = history.last(part, position, encoder.history_length)  # (B, L)
        user, earlier = (torch.from_numpy(np.ascontiguousarray(one)).to(device).long() for one in (part, read))
        with evaluating(encoder):
            scores = _catalogue_scores(encoder, user, earlier, len(popularity) - 1).double().cpu().numpy()  # (B, N + 1)
        scores[:, 0] = -np.inf
        for row, out in zip(scores, hidden[begin : begin + size], strict=True):
            row[out] = -np.inf
            found = best(row, popularity, k)
            yield found, row[found]


def _catalogue_scores(encoder: CollaborativeEncoder, user: Tensor, history: Tensor, num_items: int) -> Tensor:
    """Return the logits (B, N + 1) of every item for users (B,) with histories (B, L); column 0 is padding."""
    if isinstance(encoder, CatalogueScorer):
        return encoder.score_all(user, history)
    items = torch.arange(num_items + 1, device=user.device)
    parts = torch.split(items, max(1, PAIRS_AT_ONCE // len(user)))
    return torch.cat([encoder.score_candidates(user, history, part.expand(len(user), -1)) for part in parts], dim=1)


def best(scores: NDArray[np.float64], popularity: Ints, k: int) -> Ints:
    """Return the indices of the k highest scores, best first, leaving out -inf.

    Args:
        scores: the score of every item (N + 1,).
        popularity: decides between equal scores (N + 1,); then the lower index comes first.
        k: how many at most.
    """
    count = min(k, int((scores > -np.inf).sum()))
    if not count:
        return np.zeros(0, dtype=np.int64)
    lowest = np.partition(scores, -count)[-count]
    places = np.flatnonzero(scores >= lowest)
    order = np.lexsort((places, -popularity[places], -scores[places]))
    return places[order[:count]].astype(np.int64)
