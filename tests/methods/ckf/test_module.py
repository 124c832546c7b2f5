"""What CKF promises of a batch, on a tiny backbone."""

import dataclasses

import pytest
import torch
from torch import nn

from recsys_lora.llm.tiny import TinySource
from recsys_lora.methods.checkpoint import trained_state
from recsys_lora.methods.ckf.objective import Objective
from recsys_lora.utils.errors import UserError
from tests.methods.ckf import world as made
from tests.methods.synthetic import TableEncoder
from tests.rounding import SUM, assert_close

ABLATIONS = [
    {},
    {"mapping": {"pooling": "attention"}},
    {"mapping": {"bridge": "low_rank"}},
    {"mapping": {"bridge": "shared"}},
    {"mapping": {"bridge": "none"}},
    {"mapping": {"personalised_items": True}},
    {"mapping": {"dim": 4}},
    {"lora": "shared_only"},
    {"lora": "specific_only"},
    {"lora": "single"},
    {"lora": "all_matrices"},
    {"dropout": 0.1},
    {"input_scale": "none"},
]


class TargetEncoder(TableEncoder):
    """An encoder whose user vector depends on the target, as DIN's does, and on the history."""

    def encode(self, user, history, item):
        """Return vectors of different widths."""
        mean = self.items[history].mean(1)
        return torch.cat([self.users[user] + mean, self.items[item]], 1), self.items[item]


@pytest.fixture(scope="module")
def world():
    return made.data()


def step(module, pairs):
    """Return the gradients of both halves by name."""
    module.zero_grad(set_to_none=True)
    losses = [module.loss(made.batch(version)).mean() for version in pairs.versions.values()]
    sum(losses).backward()
    return {label: p.grad for label, p in module.named_parameters() if p.requires_grad}


def test_three_rows_equal_three_batches_of_one(world):
    module = made.started(made.module(world)).eval()
    prompts = made.pairs(3, no_history=0.0).versions["collaborative"]
    whole = made.batch(prompts)
    together = module.embeds(whole)
    hidden = module.backbone.last(module.backbone.hidden(together, whole.attention_mask), whole.attention_mask)
    for index in range(3):
        for padding in ("left", "right"):
            one = made.batch(prompts, [index], padding=padding)
            alone = module.embeds(one)
            real = whole.attention_mask[index]
            assert_close(together[index, real], alone[0], SUM)
            last = module.backbone.last(module.backbone.hidden(alone, one.attention_mask), one.attention_mask)
            assert_close(hidden[index], last[0])


def test_every_row_s_placeholders_carry_its_own_user_and_items(world):
    module = made.module(world).eval()
    prompts = made.pairs(12).versions["collaborative"]
    batch = made.batch(prompts, padding="left")
    embeds, encoder = module.embeds(batch), world[1]
    text = module.backbone.embed(batch.input_ids)
    matrices = module.mapping.meta.matrices(encoder.items[batch.history], batch.history > 0)
    for row in range(12):
        user = module.mapping.user_token(encoder.users[batch.user[row]] @ matrices[row])
        items = module.mapping.item_token(encoder.items[batch.items[row][batch.items[row] > 0]])
        places = batch.soft_positions[row][batch.soft_positions[row] >= 0]
        assert len(places) == 1 + len(items)
        assert_close(embeds[row, places], torch.cat([user[None], items]), SUM)
        words = torch.ones(embeds.shape[1], dtype=torch.bool)
        words[places] = False
        assert torch.equal(embeds[row, words], text[row, words])


def test_a_user_s_prompt_never_holds_another_s_history(world):
    module = made.started(made.module(world)).eval()
    batch = made.batch(made.pairs(12, no_history=0.0).versions["collaborative"])
    before = module.embeds(batch)
    history = batch.history.clone()
    history[4] = history[4].roll(1) % 15 + 1
    after = module.embeds(dataclasses.replace(batch, history=history))
    changed = [row for row in range(12) if not torch.equal(before[row], after[row])]
    assert changed == [4]


def test_the_meta_network_and_the_encoder_each_read_their_own_length_of_history(world):
    data, _ = world
    encoder = TargetEncoder(12, 15, 6)  # reads 3
    module = made.module((data, encoder), history_length=4).eval()
    assert module.history_length == 4
    assert made.module((data, encoder), history_length=2).history_length == 3
    batch = made.batch(made.pairs(6, no_history=0.0).versions["collaborative"])  # brings 5
    user, items = module.collaborative(batch)
    assert items.shape == (6, 3 + 4, 6)
    assert torch.equal(items[:, 3:], encoder.items[batch.history[:, -4:]] * (batch.history[:, -4:] > 0)[..., None])
    mean = encoder.items[batch.history[:, -3:]].mean(1)
    assert_close(user[:, :6], encoder.users[batch.user] + mean, SUM)
    real = (batch.items > 0).float()
    expected = (encoder.items[batch.items] * real[..., None]).sum(1) / real.sum(1, keepdim=True)
    assert_close(user[:, 6:], expected, SUM)  # the mean over the candidates


def test_prompts_of_text_alone_need_no_encoder_and_hold_no_vector(world):
    module = made.module(world).eval()
    batch = made.batch(made.pairs(6).versions["text"])
    assert module.collaborative(batch) is None
    assert torch.equal(module.embeds(batch), module.backbone.embed(batch.input_ids))


def test_before_training_text_gets_the_frozen_model_s_states(world):
    module = made.module(world).eval()
    batch = made.batch(made.pairs(6).versions["text"])
    hidden = module.hidden(batch)
    module.release()
    embeds = module.backbone.embed(batch.input_ids)
    assert torch.equal(module.backbone.hidden(embeds, batch.attention_mask, right=True), hidden)


@pytest.mark.parametrize("knobs", ABLATIONS, ids=str)
@pytest.mark.parametrize("curriculum", ["sigmoid", "joint"])
def test_every_trained_parameter_gets_a_gradient(world, knobs, curriculum):
    module = made.started(made.module(world, objective=Objective(curriculum=curriculum), **knobs)).train()
    gradients = step(module, made.pairs(24))
    assert {label.split(".")[0] for label in gradients} == {"lowrank", "mapping"}
    assert not [label for label, gradient in gradients.items() if gradient is None or not gradient.abs().sum() > 0]


@pytest.mark.parametrize("curriculum", ["sigmoid", "two_stage", "joint", "collaborative"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_which_loss_reaches_what(world, curriculum, checkpointing):
    source = TinySource(gradient_checkpointing=checkpointing)
    module = made.started(made.module(world, objective=Objective(curriculum=curriculum), source=source)).train()
    pairs = made.pairs(24)  # some of them of users without history
    module.loss(made.batch(pairs.versions["text"])).sum().backward()
    assert all(p.grad is None for p in module.mapping.parameters())
    assert all(p.grad.abs().sum() > 0 for p in module.lowrank.parameters())
    module.zero_grad(set_to_none=True)
    module.loss(made.batch(pairs.versions["collaborative"])).sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in module.mapping.parameters())
    reached = [p.grad is not None for p in module.lowrank.parameters()]
    assert all(reached) if curriculum in ("joint", "collaborative") else not any(reached)


def test_gradient_checkpointing_changes_memory_only(world):
    pairs, gradients = made.pairs(12), []
    for checkpointing in (False, True):
        source = TinySource(gradient_checkpointing=checkpointing)
        gradients.append(step(made.started(made.module(world, source=source)).train(), pairs))
    for label, expected in gradients[0].items():
        assert_close(gradients[1][label], expected, what=label)


def test_beside_a_bfloat16_backbone_float32_is_trained(world):
    half = made.started(made.module(world, source=TinySource(dtype="bfloat16")), std=0.05).eval()
    exact = made.module(world).eval()
    exact.load_state_dict(trained_state(half), strict=False)
    batch = made.batch(made.pairs(12).versions["collaborative"])
    assert {p.dtype for p in half.parameters() if p.requires_grad} == {torch.float32}
    rows = half.loss(batch)
    assert rows.dtype == torch.float32
    assert_close(rows, exact.loss(batch), 8, dtype=torch.bfloat16)


def test_vectors_are_divided_by_their_spread_on_the_training_rows(world):
    data, encoder = world
    module, raw = made.module(world).eval(), made.module(world, input_scale="none").eval()
    large = made.module((data, Scaled(encoder, 50.0))).eval()
    for one in (module, raw, large):
        one.calibrate(data, data.rows("train"))
    assert raw.vector_scale.user == 1
    batch = made.batch(made.pairs(6).versions["collaborative"])
    assert_close(large.embeds(batch), module.embeds(batch), SUM)
    assert not torch.allclose(raw.embeds(batch), module.embeds(batch), atol=1e-4)
    with pytest.raises(UserError, match="refit"):
        made.module((data, Scaled(encoder, 0.0))).calibrate(data, data.rows("train"))


class Scaled(nn.Module):
    """An encoder's vectors, times a factor."""

    history_length = 3

    def __init__(self, encoder, factor):
        """Take the encoder along."""
        super().__init__()
        self.encoder, self.factor = encoder, factor
        self.user_dim, self.item_dim = encoder.user_dim, encoder.item_dim

    def encode(self, *row):
        """Return the scaled vectors."""
        return tuple(vectors * self.factor for vectors in self.encoder.encode(*row))
