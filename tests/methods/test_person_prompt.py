"""What PersonPrompt promises, on a tiny backbone."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional

from recsys_lora.methods.checkpoint import load_checkpoint, trained_state
from recsys_lora.methods.person_prompt import TokenTable
from tests import jobs
from tests.methods import factory
from tests.methods.asking import prompts_for, score_rows
from tests.methods.synthetic import WORDS, prepared
from tests.methods.test_collm import JOB
from tests.rounding import SUM, assert_close


@pytest.fixture(scope="module")
def data():
    return prepared(users=20, items=20, rows_each=12, dim=4, titles=[f"Film {n}" for n in range(20)])[0]


def prompts_of(module, data, rows=6):
    return prompts_for(module, data, data.rows("train").take(np.arange(rows) * 5))


def batch_of(module, data, rows=6):
    return prompts_of(module, data, rows).batch(np.arange(rows), module.backbone.pad_id, "right")


def test_before_training_the_frozen_model_reads_the_rows_of_the_tables(data):
    module, original = factory.person_prompt(data).eval(), factory.backbone(data)
    batch = batch_of(module, data)
    yes, no = module.answers.choices[0].token_ids
    for index in range(len(batch)):
        embeds = original.embed(batch.input_ids[index : index + 1, : int(batch.attention_mask[index].sum())]).clone()
        user, item = batch.soft_positions[index].tolist()
        embeds[0, user] = module.users.weight[batch.user[index]]
        embeds[0, item] = module.items.weight[batch.item[index]]
        logits = original.model(inputs_embeds=embeds).logits[0, -1]
        assert_close(module(batch)[index], logits[yes] - logits[no])


def test_tokens_start_as_spread_as_the_embeddings(data):
    module = factory.person_prompt(data)
    expected = factory.backbone(data).model.get_input_embeddings().weight.std().item()
    for table in (module.users, module.items):
        assert table.weight[1:].std().item() == pytest.approx(expected, rel=0.1)


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
    datamodule = module.datamodule(data, WORDS, seed=0, train_rows=9)
    factory.trainer(max_epochs=2).fit(module, datamodule)
    trained = np.unique(data.sample("train", 9, 0).user)
    others = np.setdiff1d(np.arange(21), trained)
    assert len(others) > 3
    assert bool((module.users.weight[others] == 0).all())
    assert bool((module.users.weight[trained] != start[trained]).any(1).all())
    mean = module.users.weight[trained].mean(0)
    assert_close(module.users(torch.from_numpy(others[1:])), mean.expand(len(others) - 1, -1), SUM)


@pytest.mark.parametrize("tune_lora", [False, True])
def test_what_is_trained_gets_a_gradient(data, tune_lora):
    module = factory.person_prompt(data, tune_lora=tune_lora).train()
    with torch.no_grad():
        for p in module.lowrank.parameters():
            p.normal_(std=0.1)
    batch = batch_of(module, data)
    functional.binary_cross_entropy_with_logits(module(batch), batch.label).backward()
    found = {name: p.grad for name, p in module.named_parameters() if p.requires_grad}
    assert {name.split(".")[0] for name in found} == {"users", "items"} | ({"lowrank"} if tune_lora else set())
    assert not [name for name, gradient in found.items() if gradient is None or not gradient.abs().sum() > 0]
    moved = module.users.weight.grad.abs().sum(1).nonzero().squeeze(1)
    assert moved.tolist() == sorted(set(batch.user.tolist()))


@pytest.mark.parametrize("padding", ["left", "right"])
def test_rows_of_a_batch_do_not_touch_each_other(data, padding):
    module = factory.person_prompt(data).eval()
    rows = prompts_of(module, data)
    together = module(rows.batch(np.arange(6), 0, padding))
    alone = torch.cat([module(rows.batch(np.array([index]), 0, "right")) for index in range(6)])
    assert_close(together, alone)


def test_a_loaded_module_scores_as_the_saved_one_for_unseen_ids_too(data, tmp_path):
    module = factory.person_prompt(data)
    datamodule = module.datamodule(data, WORDS, seed=0, train_rows=9)
    trainer = factory.trainer(max_steps=1)
    trainer.fit(module, datamodule)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    other = factory.person_prompt(data, seed=9)
    load_checkpoint(tmp_path / "last.ckpt", other, other.identity)
    assert {"users.seen", "items.seen"} < set(trained_state(other))
    rows = data.rows("test")
    expected = score_rows(module, datamodule, rows, show=False)
    assert np.array_equal(score_rows(other, datamodule, rows, show=False), expected)


def test_a_whole_job(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSYS_LORA_HOME", str(tmp_path / "home"))
    tables = jobs.write_tables(tmp_path / "tables", *jobs.own_tables())
    outcome = jobs.run(tmp_path / "run", *[part for part in JOB if "cf" not in part], *tables, "model=person_prompt")
    assert outcome.collaborative is None
    module = outcome.method.module
    assert len(module.users.weight) == outcome.data.num_users + 1
    assert len(module.items.weight) == outcome.data.num_items + 1
    assert any(p.abs().sum() > 0 for name, p in module.lowrank.named_parameters() if name.endswith(".P"))
