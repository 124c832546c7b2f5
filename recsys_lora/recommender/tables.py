"""A recommender's answers, as small tables with raw ids."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_lora.data.known import Known
from recsys_lora.data.live import LiveData

SCHEMA = {
    "user": pl.String,
    "item": pl.String,
    "title": pl.String,
    "score": pl.Float64,
    "rank": pl.Int64,
    "cf_score": pl.Float64,
    "cf_rank": pl.Int64,
    "by": pl.String,
}
"""Columns of scores and lists; docs/using_a_run.md says what each is."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Listed:
    """Items of one user with their scores.

    Attributes:
        user: the raw id; None: an anonymous user.
        items: numbers (n,).
        scores: the scores that rank (n,); None if nothing is known of the user.
        cf_scores: the CF model's (n,); None if the run has none.
        by: name of the model that ranks, or popularity.
    """

    user: str | None
    items: NDArray[np.int64]
    scores: Floats | None
    cf_scores: Floats | None
    by: str

    def table(self, data: LiveData) -> pl.DataFrame:
        """Return one row per item, in the order of the items; ranks are among these."""
        count = len(self.items)
        places = np.arange(1, count + 1)
        ranks = places if self.scores is None else _ranked(self.scores, self.cf_scores)
        nothing = [None] * count
        columns = {
            "user": [self.user] * count,
            "item": [data.raw_item_ids[item] for item in self.items],
            "title": [data.titles[item] for item in self.items],
            "score": nothing if self.scores is None else self.scores,
            "rank": ranks,
            "cf_score": nothing if self.cf_scores is None else self.cf_scores,
            "cf_rank": nothing if self.cf_scores is None else _ranked(self.cf_scores),
            "by": [self.by] * count,
        }
        return pl.DataFrame(columns, schema=SCHEMA)


def known_table(known: Known, data: LiveData) -> pl.DataFrame:
    """Return a user's history as a table, oldest first: columns item, title, rating and liked."""
    items = known.items.tolist()
    columns = {
        "item": [data.raw_item_ids[item] for item in items],
        "title": [data.titles[item] for item in items],
        "rating": known.ratings,
        "liked": known.liked,
    }
    return pl.DataFrame(
        columns, schema={"item": pl.String, "title": pl.String, "rating": pl.Float64, "liked": pl.Boolean}
    )


def _ranked(scores: Floats, then: Floats | None = None) -> NDArray[np.int64]:
    """Return each score's rank (n,), from 1; ties are decided by the higher `then`, then by the earlier position."""
    order = np.lexsort((-(np.zeros_like(scores) if then is None else then), -scores))
    ranks = np.empty(len(scores), dtype=np.int64)
    ranks[order] = np.arange(1, len(scores) + 1)
    return ranks


def concat_tables(tables: Sequence[pl.DataFrame], order: Sequence[int] | None = None) -> pl.DataFrame:
    """Concatenate tables vertically.

    Args:
        tables: of one schema.
        order: each row's new position (n,); None leaves them as they are.
    """
    every = pl.concat(tables) if tables else pl.DataFrame(schema=SCHEMA)
    return every if order is None else every.select(pl.all().sort_by(pl.Series(order, dtype=pl.Int64)))
