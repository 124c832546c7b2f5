"""The pairwise loss within users, beside the pointwise one."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from recsys_lora.cf.table import UNKNOWN
from recsys_lora.data.training import TrainSet
from recsys_lora.methods.checkpoint import trained_state
from recsys_lora.methods.pairwise import Pairwise
from tests import processes
from tests.methods import factory
from tests.methods.asking import prompts_for, with_updates
from tests.methods.ckf import world as ckf_world
from tests.methods.synthetic import WORDS, prepared
from tests.rounding import SUM, TRAINING, assert_close

TITLES = [f"Film {n} {'long ' * (n % 7)}" for n in range(20)]
KNOBS = {"pairwise": 0.5, "rows_per_user": 4, "batch_size": 16}


@pytest.fixture(scope="module")
def world():
    return prepared(users=20, items=20, rows_each=12, dim=4, titles=TITLES)


def looped(score, user, positive, asked):
    """Return the losses of all pairs, one by one."""
    n = range(len(score))
    return [
        -functional.logsigmoid(score[i] - score[j])
        for i in n
        for j in n
        if user[i] == user[j] and asked[i] and asked[j] and positive[i] and not positive[j]
    ]


def test_the_loss_and_its_gradient_are_those_of_a_double_loop():
    torch.manual_seed(0)
    score = torch.randn(30, requires_grad=True)
    user, positive, asked = torch.randint(1, 5, (30,)), torch.rand(30) < 0.5, torch.rand(30) < 0.8
    total = Pairwise(0.5)(score, user, positive, asked)
    expected = torch.stack(looped(score, user, positive, asked)).sum()
    assert_close(total, expected, SUM)
    assert_close(*(torch.autograd.grad(value, score)[0] for value in (total, expected)), SUM)
    assert float(Pairwise(0.5)(score, torch.arange(30), positive, asked)) == 0


def in_a_trainer(module, epoch=0, world_size=1):
    """Let a module's training step be called without a trainer; returns what it logs."""
    logged = {}
    logs = SimpleNamespace(should_update_logs=True)
    questions = SimpleNamespace(seed=0)
    trainer = SimpleNamespace(
        datamodule=questions, current_epoch=epoch, world_size=world_size, _logger_connector=logs, global_step=0
    )
    module._trainer = trainer
    module.log = lambda name, value, **_: logged.update({name: float(value)})
    return logged


def questions_of(module, data, overhead=None):
    rows = data.rows("train").take(np.arange(16))  # of two users
    return TrainSet({"text": prompts_for(module, data, rows)}, overhead, [True])


@pytest.mark.parametrize("overhead", [None, 0.0], ids=["one group", "many groups"])
@pytest.mark.parametrize("masked", [0.0, 1.0])
def test_a_step_has_the_mean_over_rows_and_the_mean_over_pairs(world, overhead, masked):
    data, encoder = world
    module = with_updates(factory.cora(data, encoder, mask_users=masked, **KNOBS)).train()
    rows = questions_of(module, data, overhead)
    batch = rows.batch(np.arange(16), module.backbone.pad_id, "right", None, rows.pairs(np.arange(16)))
    groups = batch.versions["text"]
    assert (len(groups) > 1) == (overhead is not None)
    logged = in_a_trainer(module)
    loss = module.training_step(batch, 0)
    whole = questions_of(module, data).batch(np.arange(16), module.backbone.pad_id, "right").versions["text"][0]
    seen = replace(whole, user=whole.user * 0 + UNKNOWN) if masked else whole
    score = module(seen)
    pairs = torch.stack(looped(score, whole.user, whole.label > 0, whole.label == whole.label))
    assert len(pairs) == batch.global_pairs > 16
    pointwise = functional.binary_cross_entropy_with_logits(score, whole.label)
    expected = pointwise + 0.5 * pairs.mean()
    assert_close(loss, expected, SUM)
    assert logged["train/pairwise"] == pytest.approx(float(pairs.mean()), rel=1e-4)
    trained = [p for p in module.parameters() if p.requires_grad]
    for one, other in zip(*(torch.autograd.grad(value, trained) for value in (loss, expected)), strict=True):
        assert_close(one, other, TRAINING)


def test_shares_of_two_processes_add_up_to_one_batch(world):
    data, encoder = world
    module = with_updates(factory.cora(data, encoder, **KNOBS)).train()
    rows = questions_of(module, data)
    parts = [np.arange(8), np.arange(8, 16)]  # a user each
    pairs = sum(map(rows.pairs, parts))
    assert pairs == rows.pairs(np.arange(16))
    in_a_trainer(module)
    whole = module.training_step(rows.batch(np.arange(16), 0, "right", None, pairs), 0)
    in_a_trainer(module, world_size=2)
    shares = [module.training_step(rows.batch(part, 0, "right", 16, pairs), 0) for part in parts]
    assert_close(sum(shares) / 2, whole, SUM)


def test_a_batch_without_pairs_has_the_pointwise_loss(world):
    data, encoder = world
    module, plain = (with_updates(factory.cora(data, encoder, **knobs)).train() for knobs in (KNOBS, {}))
    rows = questions_of(module, data)
    some = np.array([0, 8])  # of two users
    losses = []
    for made in (module, plain):
        in_a_trainer(made)
        losses.append(made.training_step(rows.batch(some, 0, "right", None, rows.pairs(some)), 0))
    assert torch.equal(*losses)


def test_without_it_groups_of_a_user_change_the_order_alone(world):
    data, encoder = world
    for knobs in ({}, {"rows_per_user": 4}):
        module = factory.cora(data, encoder, batch_size=16, **knobs)
        datamodule = module.datamodule(data, WORDS, seed=0)
        datamodule.setup("fit")
        [batch, *_] = datamodule.train_dataloader()
        [group] = batch.versions["text"]
        together = int((group.user[1:] == group.user[:-1]).sum())
        assert (together > 8) == bool(knobs)
        in_a_trainer(module)
        expected = functional.binary_cross_entropy_with_logits(module(group), group.label)
        assert_close(module.training_step(batch, 0), expected, SUM)


def test_ckf_compares_the_questions_of_each_version_that_are_answered_by_yes_or_no():
    module = ckf_world.module(ckf_world.data(), pairwise=0.5, rows_per_user=4)
    prompts = replace(ckf_world.pairs(users=4), binary=[True, False, False])
    batch = prompts.batch(np.arange(48), 0, "right", None, prompts.pairs(np.arange(48)))
    logged = in_a_trainer(module)
    loss = module.version_loss("text", batch)
    [text] = batch.versions["text"]
    liked = text.task == ckf_world.LIKED
    score = module.answers.scores(text, module.hidden(text))
    pairs = torch.stack(looped(score, text.user, text.label > 0, liked))
    assert len(pairs) == batch.global_pairs > 0
    assert_close(loss, module.loss(text).sum() + 48 * 0.5 * pairs.mean(), SUM)
    assert logged["train/pairwise_text"] == pytest.approx(float(pairs.mean().detach()), rel=1e-4)


def trained(**options):
    data, encoder = prepared(users=40, items=20, rows_each=6, dim=4, titles=TITLES)
    module = factory.cora(data, encoder, **KNOBS)
    datamodule = module.datamodule(data, WORDS, seed=2)
    factory.trainer(max_steps=6, limit_val_batches=0, **options).fit(module, datamodule)
    return trained_state(module)


@pytest.mark.slow
def test_two_processes_train_what_one_trains_where_each_user_is_on_one(tmp_path):
    # 4 rows a user in train: a group each, and batches of 16 are never cut within one
    processes.assert_two_train_as_one(trained, tmp_path / "together.pt")
