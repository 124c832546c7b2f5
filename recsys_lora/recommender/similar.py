"""Items that a CF model considers similar."""

import numpy as np
import polars as pl
import torch

from recsys_lora.cf.encoder import CollaborativeEncoder
from recsys_lora.cf.inference import device_of, evaluating
from recsys_lora.cf.retrieval import best
from recsys_lora.data.live import LiveData
from recsys_lora.pipeline.collaborative import Collaborative
from recsys_lora.utils.errors import UserError

_ITEMS_AT_ONCE = 2**13


def nearest(collaborative: Collaborative | None, data: LiveData, item: int, k: int) -> pl.DataFrame:
    """Return the items nearest to one by the cosine of their vectors; arguments as in `Recommender.similar`.

    Raises:
        UserError: the run has no CF model, or no training row has the item.
    """
    if collaborative is None:
        raise UserError("similar: this run has no CF model, whose vectors say what is alike: ask a run that has one")
    seen = data.popularity > 0  # an encoder may give unseen items a common vector
    vectors = item_vectors(collaborative.encoder, data.num_items).double()
    length = vectors.norm(dim=1)
    if not (seen[item] and length[item] > 0):
        raw = data.raw_item_ids[item]
        raise UserError(f"item {raw!r}: no training row has it, so its vector says nothing: ask for another")
    cosine = (vectors @ vectors[item] / (length * length[item]).clamp_min(torch.finfo(length.dtype).tiny)).numpy()
    cosine[[0, item]] = -np.inf
    cosine[~seen | (length == 0).numpy()] = -np.inf
    found = best(cosine, data.popularity, k)
    return pl.DataFrame(
        {
            "item": [data.raw_item_ids[number] for number in found],
            "title": [data.titles[number] for number in found],
            "score": cosine[found],
            "rank": np.arange(1, len(found) + 1),
        },
        schema={"item": pl.String, "title": pl.String, "score": pl.Float64, "rank": pl.Int64},
    )


@torch.no_grad()
def item_vectors(encoder: CollaborativeEncoder, num_items: int) -> torch.Tensor:
    """Return every item's e_i (N + 1, D) float32, on the CPU, without a user."""
    place, parts = device_of(encoder), []
    with evaluating(encoder):
        for items in torch.split(torch.arange(num_items + 1, device=place), _ITEMS_AT_ONCE):
            no_user = torch.zeros_like(items)
            history = items.new_zeros(len(items), encoder.history_length)
            parts.append(encoder.encode(no_user, history, items)[1].float().cpu())
    return torch.cat(parts)
