"""The users of a call and their histories: raw ids become indices, and unknown ids are reported."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys_lora.data.known import NOBODY, Known
from recsys_lora.data.live import LiveData
from recsys_lora.recommender.close_ids import hint_for_item, hint_for_user
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.words import counted

RawId = str | int
Histories = Sequence[RawId] | Mapping[RawId, Sequence[RawId]] | None
_NAMED = 5
"""Unknown ids named in one message."""


class UnknownIdError(UserError):
    """A user or an item is not in the run's data."""


@dataclass(frozen=True)
class UserQuery:
    """One user of a call.

    Attributes:
        raw: the raw id; None: no particular user.
        number: the user's index, or that of an unknown user.
        given: the history given in the call, which replaces the stored one; None: none.
    """

    raw: str | None
    number: int
    given: Known | None = None

    def known(self, live: LiveData) -> Known:
        """Return the user's history in this call."""
        return live.known(self.number) if self.given is None else self.given

    def is_unknown(self, live: LiveData) -> bool:
        """Return whether the user is neither in the training data nor has a history."""
        return self.number > live.base.num_users and not len(self.known(live).positives)


def user_queries(live: LiveData, users: Sequence[RawId | None], histories: Histories, rating: float) -> list[UserQuery]:
    """Return the users of a call.

    Args:
        live: the data.
        users: raw ids; None is no particular user.
        histories: raw ids of liked items, oldest first: of the only user, or by user; they replace stored histories.
        rating: assumed for these items.

    Raises:
        UnknownIdError: a user is unknown and has no history here, or an item is unknown.
        UserError: a history is invalid.
    """
    raws = [None if user is None else str(user) for user in users]
    given = {raw: _history_of(live, ids, rating) for raw, ids in _by_user(raws, histories).items()}
    numbers = live.user_numbers
    if unknown := [str(raw) for raw in dict.fromkeys(raws) if raw not in numbers and raw not in given]:
        whom = _unknown_users(live, unknown)
        raise UnknownIdError(f"{whom}: give history=[ITEM, ...], or history=[] for what is popular")
    return [
        UserQuery(raw, live.anonymous if raw is None else numbers.get(raw, live.anonymous), given.get(raw))
        for raw in raws
    ]


def user_number(live: LiveData, user: RawId) -> int:
    """Return a user's index.

    Raises:
        UnknownIdError: the user is unknown.
    """
    if (number := live.user_numbers.get(str(user))) is None:
        raise UnknownIdError(_unknown_users(live, [str(user)]))
    return number


def _unknown_users(live: LiveData, raws: Sequence[str]) -> str:
    among = f"not among the {counted(len(live.user_numbers), 'user')} of {live.manifest['name']}"
    return f"user {named(raws)}: {among}{hint_for_user(live, raws[0])}"


def _by_user(raws: Sequence[str | None], histories: Histories) -> dict[str | None, Sequence[RawId]]:
    if histories is None:
        return {}
    if isinstance(histories, Mapping):
        return {str(user): ids for user, ids in histories.items()}
    if isinstance(histories, str):
        raise UserError(f"history={histories!r}: a text: give a list of item ids")
    if len(set(raws)) > 1:
        raise UserError(f"history: one list for {len(set(raws))} users: give {{USER: [ITEM, ...]}}")
    return dict.fromkeys(raws, histories)


def _history_of(live: LiveData, ids: Sequence[RawId], rating: float) -> Known:
    """Return the history of a user who likes these items, oldest first."""
    if not len(ids):
        return NOBODY
    items = item_numbers(live, ids)
    return Known(items, np.full(len(items), rating, dtype=np.float32), np.ones(len(items), dtype=np.bool_))


def item_numbers(live: LiveData, ids: Iterable[RawId]) -> NDArray[np.int64]:
    """Return items' numbers (n,).

    Raises:
        UnknownIdError: some are unknown; the first of them are named.
    """
    raws, numbers = [str(raw) for raw in ids], live.item_numbers
    if unknown := [raw for raw in dict.fromkeys(raws) if raw not in numbers]:
        raise UnknownIdError(
            f"item {named(unknown)}: not among the {counted(len(numbers), 'item')} of {live.manifest['name']}"
            f"{hint_for_item(live, unknown[0])}: new items have to be added first (Python: add_items; recommend: "
            "items=FILE)"
        )
    return np.array([numbers[raw] for raw in raws], dtype=np.int64)


def named(ids: Sequence[str]) -> str:
    """Return the first few ids as text, and how many more there are."""
    more = f" and {len(ids) - _NAMED:,} more" if len(ids) > _NAMED else ""
    return ", ".join(map(repr, ids[:_NAMED])) + more


def positions(live: LiveData, every: Sequence[UserQuery], given: Sequence[int] | None) -> NDArray[np.int64]:
    """Return how many positives of each user are known (n,): the earliest ones, as many as given, or all.

    Raises:
        UserError: a position is negative, or exceeds the user's number of positives.
    """
    stored = live.history
    known = np.array(
        [len(stored.of(one.number) if one.given is None else one.given.positives) for one in every], dtype=np.int64
    )
    if given is None:
        return known
    wanted = np.asarray(given, dtype=np.int64)
    if len(wrong := np.flatnonzero((wanted < 0) | (wanted > known))):
        raw, most = every[int(wrong[0])].raw, known[wrong[0]]
        raise UserError(f"position={wanted[wrong[0]]}: user {raw!r} has {counted(most, 'positive')}: give 0 to {most}")
    return wanted


def group_by_history(live: LiveData, every: Sequence[UserQuery]) -> Iterator[tuple[LiveData, list[int]]]:
    """Yield groups that can be answered at once: their data, and indices into `every`.

    Users with their stored history form one group. Of the others, each user of each call comes alone, as several may
    share the anonymous user's number, and one may be given several histories.
    """
    alone: dict[tuple[str | None, int], list[int]] = {}
    plain = []
    for place, query in enumerate(every):
        if query.given is None:
            plain.append(place)
        else:
            alone.setdefault((query.raw, id(query.given)), []).append(place)
    if plain:
        yield live, plain
    for places in alone.values():
        query = every[places[0]]
        assert query.given is not None
        yield live.with_known({query.number: query.given}), places
