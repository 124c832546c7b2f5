"""The CF model's logit added to that of a method: the start is the encoder, and training moves on from there."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch.nn import functional

from recsys_lora.methods.candidates import score_candidates
from recsys_lora.methods.offset import RATE
from recsys_lora.tasks.selection import Limits
from tests.methods import factory
from tests.methods.asking import prompts_for, score_rows
from tests.methods.ckf import world as ckf_world
from tests.methods.ckf.test_training import fit
from tests.methods.synthetic import WORDS, prepared
from tests.rounding import assert_close

TITLES = [f"Film {n} {'long ' * (n % 5)}" for n in range(20)]
METHODS = {
    "cora": factory.cora,
    "collm": factory.collm,
    "graphlora": factory.graphlora,
}


@pytest.fixture(scope="module")
def world():
    return prepared(users=20, items=20, rows_each=12, dim=4, titles=TITLES)


def encoders_own(encoder, rows):
    return encoder.score(torch.from_numpy(rows.user), None, torch.from_numpy(rows.item)).double().numpy()


def batch_of(module, data, rows=8, split="train"):
    prompts = prompts_for(module, data, data.rows(split).take(np.arange(rows) * 3))
    return prompts.batch(np.arange(rows), module.backbone.pad_id, "right")


@pytest.mark.parametrize("method", METHODS)
def test_before_the_first_step_every_score_is_the_encoders(world, method):
    data, encoder = world
    module = METHODS[method](data, encoder, offset="cf")
    datamodule = module.datamodule(data, WORDS, seed=0)
    rows = data.rows("test")
    assert np.array_equal(score_rows(module, datamodule, rows), encoders_own(encoder, rows))
    shared = score_candidates(module, datamodule, 3, [5, 1, 7])
    assert_close(shared, [float(encoder.users[3] @ encoder.items[item]) for item in (5, 1, 7)])
    batch = batch_of(module, data)
    own = torch.from_numpy(encoders_own(encoder, data.rows("train").take(np.arange(8) * 3))).float()
    expected = functional.binary_cross_entropy_with_logits(own, batch.label, reduction="none")
    assert_close(module.loss(batch), expected)


@pytest.mark.parametrize("method", METHODS)
def test_afterwards_it_is_the_encoders_and_a_share_of_the_methods_own(world, method):
    data, encoder = world
    plain, module = METHODS[method](data, encoder), METHODS[method](data, encoder, offset="cf")
    module.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        module.offset.scale.fill_(0.3)
        module.offset.shift.fill_(-0.1)
    rows = data.rows("test")
    before, after = (score_rows(made, made.datamodule(data, WORDS, seed=0), rows) for made in (plain, module))
    assert_close(after, encoders_own(encoder, rows) + 0.3 * before - 0.1)


def test_the_first_step_moves_the_offset_alone_and_the_second_the_method(world):
    data, encoder = world
    module = factory.cora(data, encoder, offset="cf")
    own = {name: p for name, p in module.named_parameters() if p.requires_grad}
    assert {"offset.scale", "offset.shift"} < set(own)
    batch = batch_of(module, data)
    gradients = dict(zip(own, torch.autograd.grad(module.loss(batch).mean(), list(own.values())), strict=True))
    assert {name for name, gradient in gradients.items() if gradient.any()} == {"offset.scale", "offset.shift"}
    with torch.no_grad():
        module.offset.scale.fill_(0.1)
    gradients = dict(zip(own, torch.autograd.grad(module.loss(batch).mean(), list(own.values())), strict=True))
    assert any(gradient.any() for name, gradient in gradients.items() if name.endswith("P"))
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_training_starts_at_the_encoders_accuracy_and_ends_above_it(world):
    data, encoder = prepared(users=60, items=60, rows_each=24, dim=4, titles=["Film"] * 60)
    true = torch.nn.Parameter(encoder.users.clone(), requires_grad=False)

    class HalfBlind(type(encoder)):
        def score_candidates(self, user, history, items):  # knows two of the four numbers that make the label
            return (self.users[user, :2].unsqueeze(1) * self.items[items, :2]).sum(-1)

    blind = HalfBlind(60, 60, 4)
    assert torch.equal(blind.users, true)
    module = factory.cora(data, blind, lr=3e-3, offset="cf")
    datamodule = module.datamodule(data, WORDS, seed=0, limits=Limits(valid=100))
    rows = data.rows("test")
    start = ((score_rows(module, datamodule, rows) > 0) == rows.label).mean()
    factory.trainer(max_epochs=4).fit(module, datamodule)
    end = ((score_rows(module, datamodule, rows) > 0) == rows.label).mean()
    assert start < 0.8 < end
    assert module.offset.scale.item() != 0
    assert torch.equal(blind.users, true)


class AtStart(Callback):
    """Keeps a, b and the module's scores of some rows before the first step."""

    def __init__(self, rows):
        self.rows = rows

    def on_train_start(self, trainer, pl_module):
        offset = pl_module.offset
        self.scale, self.shift = offset.scale.item(), offset.shift.item()
        self.training = pl_module.training
        self.scores = score_rows(pl_module, trainer.datamodule, self.rows)


@pytest.mark.parametrize("method", METHODS)
def test_with_a_scale_the_first_scores_keep_the_encoders_mean(world, method):
    data, encoder = world
    rows = data.rows("train").take(np.arange(40))
    module = METHODS[method](data, encoder, offset="cf", offset_scale=0.5)
    plain = METHODS[method](data, encoder)
    plain.load_state_dict(module.state_dict(), strict=False)
    start = AtStart(rows)
    datamodule = module.datamodule(data, WORDS, seed=0, limits=Limits(valid=8))
    factory.trainer(max_steps=1, callbacks=[start]).fit(module, datamodule)
    assert start.training
    assert start.scale == 0.5
    assert start.shift != 0
    if method != "cora":  # whose scaling of vectors is measured when training begins
        return
    plain.vector_scale.load_state_dict(module.vector_scale.state_dict())
    own = score_rows(plain, plain.datamodule(data, WORDS, seed=0), data.rows("train"))
    every = np.linspace(0, len(own) - 1, 64).astype(int)
    assert start.shift == pytest.approx(-0.5 * own[every].mean(), rel=1e-4)
    assert_close(start.scores, encoders_own(encoder, rows) + 0.5 * own[:40] + start.shift)


def test_with_a_scale_and_no_question_to_centre_on_the_shift_stays_zero():
    made = ckf_world.data()
    module = ckf_world.module(made, offset="cf", offset_scale=0.5)
    questions = ckf_world.Questions(made, module.backbone.pad_id)
    questions.setup("fit")
    others = questions.train.task != ckf_world.LIKED
    questions.train = SimpleNamespace(
        versions={name: SimpleNamespace(task=part.task[others]) for name, part in questions.train.versions.items()}
    )
    module._trainer = SimpleNamespace(datamodule=questions)
    module._centre(module.offset)
    assert module.offset.shift.item() == 0


def test_with_a_scale_the_first_step_moves_the_method_too(world):
    data, encoder = world
    module = factory.cora(data, encoder, offset="cf", offset_scale=0.5)
    own = {name: p for name, p in module.named_parameters() if p.requires_grad}
    batch = batch_of(module, data)
    gradients = dict(zip(own, torch.autograd.grad(module.loss(batch).mean(), list(own.values())), strict=True))
    assert any(gradient.any() for name, gradient in gradients.items() if name.endswith("P"))


def test_it_learns_faster_than_the_rest(world):
    data, encoder = world
    module = factory.cora(data, encoder, offset="cf", lr=1e-3)
    groups = module.optimizer_settings.groups(module.parameters(), module.rates)
    fast = [group for group in groups if group["lr"] == pytest.approx(RATE * 1e-3)]
    assert [len(group["params"]) for group in fast] == [2]
    assert all(group["lr"] == 1e-3 for group in groups if group is not fast[0])
    assert sum(len(group["params"]) for group in groups) == sum(p.requires_grad for p in module.parameters())


def test_ckf_keeps_its_prompts_of_text_alone_and_its_other_tasks_as_they_are():
    made = ckf_world.data()
    plain, module = ckf_world.module(made), ckf_world.module(made, offset="cf")
    batch = ckf_world.pairs().batch(np.arange(24), 0, "right")
    [soft], [text] = batch.versions["collaborative"], batch.versions["text"]
    assert_close(module.loss(text), plain.loss(text))
    before, after = plain.loss(soft), module.loss(soft)
    liked = soft.task == ckf_world.LIKED
    assert_close(after[~liked], before[~liked])
    own = made[1].score(soft.user, None, soft.item)
    expected = functional.binary_cross_entropy_with_logits(own, soft.label, reduction="none")
    assert_close(after[liked], expected[liked])


def test_ckf_trains_it_with_the_mapping():
    made = ckf_world.data()
    module = ckf_world.module(made, offset="cf", lr=1e-3)
    fit(module, made, max_steps=4)
    [optimizer] = module.trainer.optimizers
    fast = [group for group in optimizer.param_groups if group["initial_lr"] == pytest.approx(RATE * 1e-3)]
    assert [len(group["params"]) for group in fast] == [2]
    assert module.offset.scale.item() != 0
