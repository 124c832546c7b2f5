"""Histories of all rated items, against a loop over the rows."""

from types import SimpleNamespace

import numpy as np
import pytest

from recsys_lora.data.rated import RatedHistory
from recsys_lora.methods.candidates import candidate_questions
from tests.tasks import world

ROWS = [
    *((1, 3 + place, rating, "train") for place, rating in enumerate([5, 1, 4, 2, 5])),
    (2, 9, 1, "train"),
    *((3, 20 + place, rating, "test") for place, rating in enumerate([2, 2, 4])),
]


@pytest.fixture
def rated():
    return RatedHistory(world.data(ROWS))


def last(rated, asked, k):
    """Return what is shown of each question, as (item, rating) pairs."""
    window = asked.user, rated.position(asked), k
    pairs = zip(rated.items.last(*window).tolist(), rated.ratings.last(*window).tolist(), strict=True)
    return [[(item, rating) for item, rating in zip(*pair, strict=True) if item] for pair in pairs]


@pytest.mark.parametrize("k", [1, 2, 10])
def test_each_row_shows_the_users_rows_before_it(rated, k):
    earlier = [[other for other in ROWS[:row] if other[0] == ROWS[row][0]][-k:] for row in range(len(ROWS))]
    assert last(rated, rated.data.every, k) == [[(item, rating) for _, item, rating, _ in rows] for rows in earlier]


def test_a_question_behind_all_rows_shows_what_its_position_says(rated):
    def shown(user, position=None):
        return last(rated, candidate_questions(rated.data, user, [8], position), 10)

    assert shown(1) == [[(item, rating) for _, item, rating, _ in ROWS[:5]]]
    assert shown(1, position=2) == [[(item, rating) for _, item, rating, _ in ROWS[:4]]]  # before the third positive
    assert shown(2) == [[(9, 1)]]
    assert len(shown(3)[0]) == 3


def test_nobody_sees_another_users_rows():
    rated = RatedHistory(world.many())
    rows = rated.data.every
    own = {user: set(rows.item[rows.user == user].tolist()) for user in set(rows.user.tolist())}
    for user, shown in zip(rows.user.tolist(), last(rated, rows, 8), strict=True):
        assert {item for item, _ in shown} <= own[user]
    first = SimpleNamespace(user=np.array([1]), item=np.array([1]), position=np.array([0]), row=np.array([0]))
    assert last(rated, first, 8) == [[]]
