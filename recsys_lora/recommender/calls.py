"""Several calls answered as one batch: each gets the result it would get alone, or its own error."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import polars as pl

from recsys_lora.cf.retrieval import Floats, Ints
from recsys_lora.data.history import Pairs
from recsys_lora.data.live import LiveData
from recsys_lora.recommender.listing import CandidateSettings, lists, pair_table
from recsys_lora.recommender.queries import (
    Histories,
    RawId,
    UserQuery,
    group_by_history,
    item_numbers,
    positions,
    user_queries,
)
from recsys_lora.recommender.similar import nearest
from recsys_lora.recommender.stages import Stages
from recsys_lora.recommender.tables import Listed, concat_tables
from recsys_lora.utils.errors import UserError

Answer = pl.DataFrame | UserError
C = TypeVar("C")
R = TypeVar("R")


@dataclass(frozen=True)
class ScoreCall:
    """The arguments of `Recommender.score`."""

    pairs: Sequence[tuple[RawId | None, RawId]]
    history: Histories = None
    position: Sequence[int] | None = None


@dataclass(frozen=True)
class ListCall:
    """The arguments of `Recommender.recommend`; `users` is always a sequence here."""

    users: Sequence[RawId | None]
    k: int = 10
    candidates: Sequence[RawId] | None = None
    exclude_seen: bool = True
    retrieve: int = 100
    history: Histories = None


@dataclass(frozen=True)
class SimilarCall:
    """The arguments of `Recommender.similar`."""

    item: RawId
    k: int = 10


Call = ScoreCall | ListCall | SimilarCall


@dataclass(frozen=True)
class State:
    """The stages that answer, and the data at one time.

    Attributes:
        stages: the stages that answer.
        data: the data.
        liked: the rating assumed for liked items without one.
    """

    stages: Stages
    data: LiveData
    liked: float


@dataclass(frozen=True)
class _Rows:
    """The pairs of a call: their users, items and positions, each (n,)."""

    user_queries: list[UserQuery]
    items: Ints
    position: Ints


def answers(state: State, calls: Sequence[Call]) -> list[Answer]:
    """Return each call's answer, or its error; calls of one kind are computed together."""
    scores = {place: call for place, call in enumerate(calls) if isinstance(call, ScoreCall)}
    listed = {place: call for place, call in enumerate(calls) if isinstance(call, ListCall)}
    similar = {place: call for place, call in enumerate(calls) if isinstance(call, SimilarCall)}

    def alike(call: SimilarCall) -> pl.DataFrame:
        [item] = item_numbers(state.data, [call.item]).tolist()
        return nearest(state.stages.collaborative, state.data, item, call.k)

    found = {**_scored(state, scores), **_listed(state, listed), **_each(similar, alike)}
    return [found[place] for place in range(len(calls))]


def _each(calls: Mapping[int, C], read: Callable[[C], R]) -> dict[int, R | UserError]:
    """Return the result of `read` for each call, or its error."""
    found: dict[int, R | UserError] = {}
    for place, call in calls.items():
        try:
            found[place] = read(call)
        except UserError as error:
            found[place] = error
    return found


def _parted(found: Mapping[int, R | UserError]) -> tuple[dict[int, R], dict[int, Answer]]:
    right = {place: one for place, one in found.items() if not isinstance(one, UserError)}
    return right, {place: one for place, one in found.items() if isinstance(one, UserError)}


# Pairs


def _scored(state: State, calls: Mapping[int, ScoreCall]) -> dict[int, Answer]:
    rows, found = _parted(_each(calls, lambda call: _rows(state, call)))
    if not rows:
        return found
    every = [query for own in rows.values() for query in own.user_queries]
    items = np.concatenate([own.items for own in rows.values()])
    position = np.concatenate([own.position for own in rows.values()])
    scores, cf = np.zeros(len(every)), None if state.stages.collaborative is None else np.zeros(len(every))
    for view, places in group_by_history(state.data, every):
        user = np.array([every[place].number for place in places], dtype=np.int64)
        pairs = Pairs(user, items[places], position[places])
        scores[places] = state.stages.scores(view, pairs)
        if cf is not None:
            cf[places] = state.stages.cf_scores(view, pairs)
    for (place, own), part in zip(rows.items(), _slices(len(own.user_queries) for own in rows.values()), strict=True):
        apart: Floats | None = None if cf is None else cf[part]
        found[place] = pair_table(state.stages.name, state.data, own.user_queries, own.items, scores[part], apart)
    return found


def _rows(state: State, call: ScoreCall) -> _Rows:
    state.stages.check_ranks()
    if odd := [one for one in call.pairs if isinstance(one, str) or not isinstance(one, Sized) or len(one) != 2]:
        raise UserError(f"{odd[0]!r}: not a pair: give (user, item)")
    every = user_queries(state.data, [user for user, _ in call.pairs], call.history, state.liked)
    items = item_numbers(state.data, [item for _, item in call.pairs])
    return _Rows(every, items, positions(state.data, every, call.position))


# Lists


def _listed(state: State, calls: Mapping[int, ListCall]) -> dict[int, Answer]:
    """Make the lists of all calls; lists with the same settings are retrieved together."""
    read, found = _parted(_each(calls, lambda call: _lists_of(state, call)))
    for wanted in {wanted.key: wanted for _, wanted in read.values()}.values():
        alike = {place: every for place, (every, own) in read.items() if own.key == wanted.key}
        group = [query for every in alike.values() for query in every]
        listed: dict[int, Listed] = {}
        for view, places in group_by_history(state.data, group):
            listed |= zip(places, lists(state.stages, view, [group[place] for place in places], wanted), strict=True)
        for place, part in zip(alike, _slices(map(len, alike.values())), strict=True):
            own = [listed[number] for number in range(part.start, part.stop)]
            found[place] = concat_tables([one.table(state.data).sort("rank").head(calls[place].k) for one in own])
    return found


def _lists_of(state: State, call: ListCall) -> tuple[list[UserQuery], CandidateSettings]:
    for name, count in (("k", call.k), ("retrieve", call.retrieve)):
        if not isinstance(count, int) or count < 1:
            raise UserError(f"{name}={count!r}: give a whole number from 1")
    state.stages.check_ranks()
    every = user_queries(state.data, call.users, call.history, state.liked)
    chosen = None if call.candidates is None else np.unique(item_numbers(state.data, call.candidates))
    return every, CandidateSettings(call.retrieve, chosen, call.exclude_seen)


def _slices(lengths: Iterable[int]) -> list[slice]:
    """Return the slices of consecutive parts of these lengths."""
    ends = list(itertools.accumulate(lengths, initial=0))
    return list(itertools.starmap(slice, itertools.pairwise(ends)))
