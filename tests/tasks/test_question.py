"""Questions as if other users asked them."""

import numpy as np
import pytest

from recsys_lora.tasks.question import rows_of_others
from recsys_lora.tasks.topk import TopK
from recsys_lora.utils.errors import UserError
from tests.tasks import world


def test_no_row_keeps_its_user_and_users_stay_together():
    user = np.random.default_rng(0).integers(1, 9, 100)
    theirs = user[rows_of_others(user, seed=3)]
    assert (theirs != user).all()
    for one in np.unique(user):
        assert len(set(theirs[user == one])) == 1
    assert set(theirs) == set(user)
    assert (rows_of_others(user, 3) == rows_of_others(user, 3)).all()
    assert (rows_of_others(user, 3) != rows_of_others(user, 4)).any()


def test_a_users_rows_are_met_in_turn():
    others = rows_of_others(np.array([1, 1, 1, 2, 2]), seed=0)
    assert others.tolist() == [3, 4, 3, 0, 1]


def test_one_user_alone_cannot_be_shuffled():
    with pytest.raises(UserError, match="all of one user"):
        rows_of_others(np.ones(4, dtype=np.int64), 0)


def test_pairs_are_of_every_candidate_in_order():
    data = world.many()
    questions = TopK(**world.listed(), candidates=3, cutoffs=[1]).questions(data, "test", 4, 0)
    questions.items[1, 2:] = 0
    pairs = questions.pairs()
    assert pairs.item.tolist() == [item for row in questions.items.tolist() for item in row if item]
    assert pairs.user.tolist() == np.repeat(questions.user, [3, 2, 3, 3]).tolist()
    assert pairs.position.tolist() == np.repeat(questions.position, [3, 2, 3, 3]).tolist()
