"""Scores of pairs and lists of items for users whose histories are those of one state of the data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from recsys_lora.cf.retrieval import Floats, Ints
from recsys_lora.data.known import NOBODY
from recsys_lora.data.live import LiveData
from recsys_lora.recommender.queries import UserQuery
from recsys_lora.recommender.stages import POPULARITY, Stages, most_popular, pairs_of
from recsys_lora.recommender.tables import Listed, concat_tables


@dataclass(frozen=True)
class CandidateSettings:
    """Which items are ranked.

    Attributes:
        retrieve: how many items the CF model retrieves from the catalogue, for each user.
        candidates: numbers of the items to rank instead; None: the retrieved ones.
        exclude_seen: leave out the items of a user's history.
    """

    retrieve: int
    candidates: Ints | None
    exclude_seen: bool

    @property
    def key(self) -> tuple[int, bytes | None, bool]:
        """A key that is equal for equal settings."""
        return self.retrieve, None if self.candidates is None else self.candidates.tobytes(), self.exclude_seen


def pair_table(
    by: str, data: LiveData, group: Sequence[UserQuery], items: Ints, scores: Floats, cf: Floats | None
) -> pl.DataFrame:
    """Return one row per pair, in their order; ranks are within each user's pairs.

    Args:
        by: name of the model that ranks.
        data: names the items.
        group: the pairs' users.
        items: the pairs' items (n,).
        scores: the scores that rank (n,).
        cf: the CF model's scores (n,); None if there is none.
    """
    places: dict[str | None, list[int]] = {}
    for place, query in enumerate(group):
        places.setdefault(query.raw, []).append(place)
    tables = [
        Listed(raw, items[own], scores[own], None if cf is None else cf[own], by).table(data)
        for raw, own in places.items()
    ]
    return concat_tables(tables, [place for own in places.values() for place in own])


def lists(stages: Stages, data: LiveData, group: Sequence[UserQuery], wanted: CandidateSettings) -> Iterator[Listed]:
    """Yield each user's items with their scores, unordered; an unknown user without a history gets popular ones."""
    hidden = [data.known(query.number).items if wanted.exclude_seen else NOBODY.items for query in group]
    heard = [place for place, query in enumerate(group) if not query.is_unknown(data)]
    found = iter(
        _candidates(stages, data, [group[place].number for place in heard], [hidden[p] for p in heard], wanted)
    )
    for query, out in zip(group, hidden, strict=True):
        if query.is_unknown(data):
            yield Listed(query.raw, _popular(data, out, wanted), None, None, POPULARITY)
            continue
        items, cf = next(found)
        scores = cf if stages.method is None else stages.scores_of_one(data, query.number, items)
        yield Listed(query.raw, items, scores, cf, stages.name)


def _candidates(
    stages: Stages, data: LiveData, users: Sequence[int], hidden: Sequence[Ints], wanted: CandidateSettings
) -> Iterator[tuple[Ints, Floats | None]]:
    """Yield the items to rank for each user, and the CF model's logits."""
    if wanted.candidates is None:
        yield from stages.retrieved(data, users, hidden, wanted.retrieve)
        return
    for user, out in zip(users, hidden, strict=True):
        items = wanted.candidates[~np.isin(wanted.candidates, out)]
        yield items, stages.cf_scores(data, pairs_of(data, user, items))


def _popular(data: LiveData, hidden: Ints, wanted: CandidateSettings) -> Ints:
    if wanted.candidates is not None:
        others = np.setdiff1d(np.arange(1, data.num_items + 1), wanted.candidates)
        return most_popular(data.popularity, np.union1d(hidden, others), len(wanted.candidates))
    return most_popular(data.popularity, hidden, wanted.retrieve)
