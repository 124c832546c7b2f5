"""What PersonPrompt promises, on a tiny backbone."""

import copy

import numpy as np
import pytest
import torch

from recsys_lora.methods.checkpoint import load_checkpoint, trained_state
from recsys_lora.methods.person_prompt import TokenTable
from recsys_lora.tasks.selection import Limits
from tests.methods import factory
from tests.methods.asking import batch_of, gradients, score_rows, with_updates
from tests.methods.synthetic import WORDS, prepared
from tests.rounding import SUM, assert_close


@pytest.fixture(scope="module")
def data():
    return prepared(users=20, items=20, rows_each=12, dim=4, titles=[f"Film {n}" for n in range(20)])[0]


def test_ids_without_training_rows_get_the_mean_or_zero():
    for unseen, expected in (("mean", [2.0, 4.0]), ("zero", [0.0, 0.0])):
        table = TokenTable(4, 2, 1.0, unseen)
        with torch.no_grad():
            table.weight.copy_(torch.tensor([[9.0, 9.0], [1.0, 3.0], [7.0, 7.0], [3.0, 5.0], [8.0, 8.0]]))
        table.limit_to(np.array([3, 1, 3]))
        got = table(torch.tensor([0, 1, 2, 3, 4]))
        assert_close(got, torch.tensor([[0.0, 0.0], [1.0, 3.0], expected, [3.0, 5.0], expected]), SUM)


def test_training_moves_the_tokens_of_its_rows_alone(data):
    module = factory.person_prompt(data)
    start = copy.deepcopy(module.users.weight.detach())
    datamodule = module.datamodule(data, WORDS, seed=0, limits=Limits(train=9))
    factory.trainer(max_epochs=2).fit(module, datamodule)
    trained = np.unique(data.sample("train", 9, 0).user)
    others = np.setdiff1d(np.arange(21), trained)
    assert len(others) > 3
    assert bool((module.users.weight[others] == 0).all())
    assert bool((module.users.weight[trained] != start[trained]).any(1).all())
    mean = module.users.weight[trained].mean(0)
    assert_close(module.users(torch.from_numpy(others[1:])), mean.expand(len(others) - 1, -1), SUM)


def test_a_batch_trains_the_tokens_of_its_users_alone(data):
    module = with_updates(factory.person_prompt(data)).train()
    batch = batch_of(module, data)
    moved = gradients(module, batch)["users.weight"].abs().sum(1).nonzero().squeeze(1)
    assert moved.tolist() == sorted(set(batch.user.tolist()))


def test_a_loaded_module_scores_as_the_saved_one_for_unseen_ids_too(data, tmp_path):
    module = factory.person_prompt(data)
    datamodule = module.datamodule(data, WORDS, seed=0, limits=Limits(train=9))
    trainer = factory.trainer(max_steps=1)
    trainer.fit(module, datamodule)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    other = factory.person_prompt(data, seed=9)
    load_checkpoint(tmp_path / "last.ckpt", other, other.identity)
    assert {"users.seen", "items.seen"} < set(trained_state(other))
    rows = data.rows("test")
    expected = score_rows(module, datamodule, rows, show=False)
    assert np.array_equal(score_rows(other, datamodule, rows, show=False), expected)
