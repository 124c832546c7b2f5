import numpy as np
import pytest
import torch

from recsys_lora.errors import UserError
from recsys_lora.methods.collaborative import CollaborativeOnly
from recsys_lora.methods.scoring import rows_of_others, score_rows
from tests.methods import factory
from tests.methods.synthetic import WORDS, prepared
from tests.rounding import SUM, assert_close


@pytest.fixture(scope="module")
def world():
    return prepared(
        users=20, items=20, rows_each=12, dim=4, titles=[f"Film {n} {'long ' * (n % 7)}" for n in range(20)]
    )


def test_scores_come_in_the_rows_order(world):
    data, _ = world
    module = factory.zero_shot(data)
    datamodule = module.datamodule(data, WORDS, seed=0, token_budget=200)
    rows = data.rows("test")
    order = np.random.default_rng(0).permutation(len(rows))
    scores = score_rows(module, datamodule, rows, show=False)
    assert_close(score_rows(module, datamodule, rows.take(order), show=False), scores[order])
    assert scores.dtype == np.float64
    assert scores.std() > 1e-4


def test_the_modules_mode_is_left_as_it_was(world):
    module = factory.cora(*world)
    datamodule = module.datamodule(world[0], WORDS, seed=0)
    for mode in (True, False):
        module.train(mode)
        score_rows(module, datamodule, world[0].rows("test").take(np.arange(3)), show=False)
        assert module.generator.training is mode


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


def test_shuffling_changes_the_encoders_user_and_nothing_else(world):
    data, encoder = world
    module = factory.cora(data, encoder)
    with torch.no_grad():
        for source in module.lowrank.parameters():
            source.normal_()
    datamodule = module.datamodule(data, WORDS, seed=0)
    rows = data.rows("test")
    shuffled = score_rows(module, datamodule, rows, shuffle_users=5, show=False)
    assert not np.allclose(shuffled, score_rows(module, datamodule, rows, show=False), atol=1e-3)
    encoder.users.data, kept = encoder.users.data[np.full(21, 1)], encoder.users.data
    try:  # when all users are alike, it does not matter whose vectors are shown
        same, mixed = (score_rows(module, datamodule, rows, shuffle_users=seed, show=False) for seed in (None, 5))
    finally:
        encoder.users.data = kept
    assert_close(same, mixed)


def test_the_collaborative_model_alone_scores_as_its_encoder(world):
    data, encoder = world
    rows = data.rows("test")
    expected = (encoder.users[rows.user] * encoder.items[rows.item]).sum(-1)
    scores = CollaborativeOnly(name="table", encoder=encoder).score_rows(data, rows)
    assert_close(scores, expected, SUM)
