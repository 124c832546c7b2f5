"""A run's collaborative vectors as Parquet, for a search index or another program."""

from pathlib import Path

import numpy as np
import polars as pl
import torch

from recsys_lora.cf.dot import DotProductEncoder
from recsys_lora.cf.mf import MF
from recsys_lora.data.history import Pairs
from recsys_lora.methods.vectors import encode_rows
from recsys_lora.recommender.recommender import Recommender
from recsys_lora.recommender.similar import item_vectors
from recsys_lora.utils.errors import UserError

USERS, ITEMS = "users.parquet", "items.parquet"


def write_vectors(recommender: Recommender, folder: Path) -> None:
    """Write `items.parquet` (item, title, vector) and, where e_u does not depend on the item, `users.parquet`.

    The dot product of two vectors is then the CF model's score (times a constant if the vectors are binary codes), plus
    both `bias` columns if the model has biases. A user's vector is the one after the user's whole history.

    Raises:
        UserError: the run has no CF model.
    """
    collaborative, data = recommender.run.collaborative, recommender.run.data
    if collaborative is None:
        raise UserError("this run has no CF model, and so no vectors: export to=bundle")
    encoder = collaborative.encoder
    named = {"item": data.raw_item_ids[1:], "title": data.titles[1:]}
    items = pl.DataFrame(named, schema={"item": pl.String, "title": pl.String})
    biases = encoder.biases if isinstance(encoder, MF) else None
    items = _with(items, item_vectors(encoder, data.num_items)[1:])
    if biases is not None:
        items = items.with_columns(bias=_series(biases.items.all()[1 : data.num_items + 1, 0]))
    items.write_parquet(folder / ITEMS)
    if isinstance(encoder, DotProductEncoder):
        numbers = np.arange(1, data.num_users + 1)
        known = np.array([len(data.history.of(user)) for user in numbers.tolist()], dtype=np.int64)
        vectors, _ = encode_rows(encoder, data, Pairs(numbers, np.zeros_like(numbers), known))
        users = _with(pl.DataFrame({"user": data.raw_user_ids[1:]}), vectors)
        if biases is not None:
            users = users.with_columns(bias=_series(biases.overall + biases.users.all()[1 : data.num_users + 1, 0]))
        users.write_parquet(folder / USERS)


def _series(biases: torch.Tensor) -> pl.Series:
    return pl.Series(biases.detach().cpu().numpy())


def _with(table: pl.DataFrame, vectors: torch.Tensor) -> pl.DataFrame:
    return table.with_columns(pl.Series("vector", vectors.numpy(), dtype=pl.Array(pl.Float32, vectors.shape[1])))
