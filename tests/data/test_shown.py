"""Which rows a prompt's history shows, against a loop over the rows."""

from types import SimpleNamespace

import numpy as np
import pytest

from recsys_lora.data.shown import ShownRows
from recsys_lora.methods.candidates import candidate_questions
from tests.tasks import world

ROWS = [
    *((1, 3 + place, rating, "train") for place, rating in enumerate([5, 1, 4, 2, 5])),
    (2, 9, 1, "train"),
    *((3, 20 + place, rating, "test") for place, rating in enumerate([2, 2, 4])),
]


def naive(kind, row, k):
    user = ROWS[row][0]
    earlier = [other for other in ROWS[:row] if other[0] == user and (kind == "rated" or other[2] >= 4)][-k:]
    return [(item, rating) for _, item, rating, _ in earlier]


def found(shown, numbers):
    return [[(int(shown.item[n]), float(shown.rating[n])) for n in row if n] for row in numbers.tolist()]


@pytest.mark.parametrize("kind", ["liked", "rated"])
@pytest.mark.parametrize("k", [1, 2, 10])
def test_each_row_shows_the_users_rows_before_it(kind, k):
    data = world.data(ROWS)
    shown = ShownRows.of(data, kind)
    assert found(shown, shown.last(data.every, k)) == [naive(kind, row, k) for row in range(len(ROWS))]


def test_a_question_behind_all_rows_shows_what_its_position_says():
    data = world.data(ROWS)
    shown = ShownRows.of(data, "rated")
    every = candidate_questions(data, 1, [8])
    assert found(shown, shown.last(every, 10)) == [[(item, rating) for _, item, rating, _ in ROWS[:5]]]
    two_known = candidate_questions(data, 1, [8], position=2)  # before the third positive
    assert found(shown, shown.last(two_known, 10)) == [[(item, rating) for _, item, rating, _ in ROWS[:4]]]
    last = candidate_questions(data, 3, [8])
    assert [len(row) for row in found(shown, shown.last(last, 10))] == [3]


def test_sampled_items_are_never_shown():
    data = world.data(ROWS)
    data.manifest["negatives"] = {"train": 1, "test": 1, "seed": 0}
    shown, liked = ShownRows.of(data, "rated"), ShownRows.of(data, "liked")
    assert (shown.last(data.every, 5) == liked.last(data.every, 5)).all()
    assert (shown.rating[1:] >= 4).all()


def test_nobody_sees_another_users_rows():
    data = world.many()
    shown = ShownRows.of(data, "rated")
    numbers = shown.last(data.every, 8)
    owner = np.r_[0, data.every.user]
    assert ((owner[numbers] == data.every.user[:, None]) | (numbers == 0)).all()
    asked = SimpleNamespace(user=np.array([1]), item=np.array([1]), position=np.array([0]), row=np.array([0]))
    assert not shown.last(asked, 8).any()
