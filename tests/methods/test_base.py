"""What all language-model methods share, seen through the smallest ones."""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from recsys_lora.data.loader import Shard
from recsys_lora.evaluation.ranking import auc, uauc
from recsys_lora.llm.tiny import TinySource
from recsys_lora.methods.answering import Answering
from recsys_lora.methods.base import LLMRecommender
from recsys_lora.methods.checkpoint import trained_state
from recsys_lora.methods.optimizer import OptimizerSettings
from recsys_lora.prompts.template import Template
from recsys_lora.tasks.selection import Limits
from recsys_lora.utils.errors import UserError
from tests.methods import factory
from tests.methods.asking import prompts_for, score_rows
from tests.methods.synthetic import WORDS, prepared
from tests.rounding import assert_close

TITLES = [f"Film {n} {'long ' * (n % 5)}" for n in range(20)]


@pytest.fixture(scope="module")
def world():
    return prepared(users=20, items=20, rows_each=12, dim=4, titles=TITLES)


class SoftTokens(LLMRecommender):
    """Two soft tokens from linear maps of e_u and e_i: the least that CoLLM and CKF share."""

    needs_encoder: ClassVar[bool] = True
    versions: ClassVar[tuple[str, ...]] = ("collaborative",)
    soft_names: ClassVar[tuple[str, ...]] = ("user", "item")

    def __init__(self, **settings):
        super().__init__(**settings)
        self.maps = nn.ModuleList(nn.Linear(4, self.backbone.hidden_size) for _ in range(2))

    def soft_tokens(self, batch, vectors):
        user, items = vectors
        return self.arranged(torch.cat([self.maps[0](user).unsqueeze(1), self.maps[1](items)], dim=1), batch)


def settings(data, encoder):
    text = "A user <user> rated {history}. Would the user enjoy {title} <item>? #Answer:"
    none = "A user <user>: would the user enjoy {title} <item>? #Answer:"
    return {
        "name": "soft",
        "tasks": factory.asked(),
        "prompt": Template(text, none, soft_tokens=["user", "item"]),
        "batch_size": 16,
        "score": "yes_minus_no",
        "optimizer": OptimizerSettings(),
        "backbone": factory.backbone(data),
        "encoder": encoder,
    }


def soft(data, encoder):
    torch.manual_seed(0)
    return SoftTokens(**settings(data, encoder))


@pytest.mark.parametrize("padding", ["left", "right"])
def test_each_rows_soft_tokens_are_its_own(world, padding):
    data, encoder = world
    module = soft(data, encoder).eval()
    rows = prompts_for(module, data, data.rows("test").take(np.arange(0, 40, 9)))
    together = module(rows.batch(np.arange(len(rows)), 0, padding))
    alone = torch.cat([module(rows.batch(np.array([index]), 0, "right")) for index in range(len(rows))])
    assert_close(together, alone)
    swapped = dataclasses.replace(rows, user=rows.user[::-1].copy(), history=rows.history[::-1].copy())
    swapped = module(swapped.batch(np.arange(len(rows)), 0, padding))
    assert not torch.allclose(swapped, together, atol=1e-4)


def test_the_score_is_the_full_heads_logit_of_the_answer(world):
    data, _ = world
    [yes, both] = [factory.zero_shot(data, score=score) for score in ("yes", "yes_minus_no")]
    rows = data.rows("test").take(np.arange(4))
    prompts = prompts_for(yes, data, rows)
    for index in range(4):
        ids = torch.from_numpy(prompts.prompts[index].astype(np.int64))[None]
        logits = yes.backbone.model(input_ids=ids).logits[0, -1]
        first, second = yes.answers.choices[0].token_ids
        batch = prompts.batch(np.array([index]), 0, "right")
        assert_close(yes(batch)[0], logits[first])
        assert_close(both(batch)[0], logits[first] - logits[second])


def test_the_answers_are_the_pieces_that_follow_the_prompt(world):
    module = factory.zero_shot(world[0])
    assert [piece.lstrip("Ġ") for piece in module.answers.choices[0].pieces] == ["Yes", "No"]
    text = module.readings["ctr"].ending + " Yes"
    assert module.backbone.tokenizer(text)["input_ids"][-1] == module.answers.choices[0].token_ids[0]


def test_unequal_shares_give_the_mean_over_all_rows(world):
    data, encoder = world
    module = factory.cora(data, encoder)
    with torch.no_grad():
        for p in module.lowrank.parameters():
            p.normal_(std=0.1)
    prompts = prompts_for(module, data, data.rows("train").take(np.arange(0, 35, 5)))
    index = np.arange(7)

    def gradient(batch, world_size):
        module.zero_grad()
        module._trainer = None
        loss = functional.binary_cross_entropy_with_logits(module(batch), batch.label, reduction="sum")
        (loss * (world_size / batch.global_rows)).backward()
        return torch.cat([p.grad.flatten() for p in module.generator.parameters()])

    whole = gradient(prompts.batch(index, 0, "right"), 1)
    shares = [gradient(prompts.batch(Shard(rank, 2).of(index), 0, "right", global_rows=7), 2) for rank in range(2)]
    assert_close((shares[0] + shares[1]) / 2, whole)


def test_validation_metrics_are_those_of_the_scored_rows(world):
    data, encoder = world
    module = factory.cora(data, encoder)
    datamodule = module.datamodule(data, WORDS, seed=0, token_budget=300)
    trainer = factory.trainer(max_steps=1)
    trainer.fit(module, datamodule)
    logged = {name: float(value) for name, value in trainer.validate(module, datamodule, verbose=False)[0].items()}
    rows = data.rows("valid")
    score = score_rows(module, datamodule, rows, show=False)
    assert logged["valid/auc"] == pytest.approx(auc(rows.label, score), abs=1e-6)
    assert logged["valid/uauc"] == pytest.approx(uauc(rows.user, rows.label, score)[0], abs=1e-6)
    expected = functional.binary_cross_entropy_with_logits(
        torch.from_numpy(score), torch.from_numpy(rows.label).double()
    )
    assert_close(logged["valid/loss"], expected)


@pytest.mark.parametrize("limits", [Limits(), Limits(test=20), Limits(test_users=5)])
def test_a_trainer_of_ones_own_tests_on_the_runs_questions(world, limits):
    data, encoder = world
    module = factory.cora(data, encoder)
    with torch.no_grad():
        for parameter in module.lowrank.parameters():
            parameter.normal_(std=0.1)
    datamodule = module.datamodule(data, WORDS, seed=0, limits=limits)
    logged = factory.trainer().test(module, datamodule, verbose=False)[0]
    questions = datamodule.questions("ctr", "test", limits.test)
    assert len(questions) == (limits.test or len(questions))
    assert len(np.unique(questions.user)) <= (limits.test_users or 20)
    score = Answering(module, datamodule)("ctr", questions, show=False)
    assert logged["test/auc"] == pytest.approx(auc(questions.label, score), abs=1e-6)
    assert logged["test/uauc"] == pytest.approx(uauc(questions.user, questions.label, score)[0], abs=1e-6)


def test_what_a_trainer_of_ones_own_cannot_do_is_one_line(world):
    data, encoder = world
    module = factory.cora(data, encoder)
    datamodule = module.datamodule(data, WORDS, seed=0)
    datamodule.setup("fit")
    with pytest.raises(UserError, match=r"loaders alone: use trainer\.fit\(module, datamodule=\.\.\.\)$"):
        factory.trainer(max_steps=1).fit(module, datamodule.train_dataloader(), datamodule.val_dataloader())
    with pytest.raises(UserError, match=r"trainer\.predict is not supported: use Answering"):
        factory.trainer().predict(module, datamodule)
    alone = factory.zero_shot(data)
    with pytest.raises(UserError, match=r"^zero_shot: nothing to train: use trainer\.test"):
        factory.trainer(max_steps=1).fit(alone, datamodule=alone.datamodule(data, WORDS, seed=0))


def test_lightnings_own_checkpoint_is_loaded_with_the_arguments_of_the_method(world, tmp_path):
    data, encoder = world
    module = soft(data, encoder)
    trainer = factory.trainer(max_steps=3)
    trainer.fit(module, module.datamodule(data, WORDS, seed=0))
    trainer.save_checkpoint(tmp_path / "mine.ckpt")
    loaded = SoftTokens.load_from_checkpoint(tmp_path / "mine.ckpt", **settings(data, encoder))
    expected = trained_state(module)
    assert expected.keys() == trained_state(loaded).keys()
    for name, value in trained_state(loaded).items():
        assert torch.equal(value, expected[name])


def test_a_chat_template_wraps_prompt_and_answer(world):
    data, _ = world
    source = TinySource(chat_template=True)
    plain = factory.backbone(data)
    plain.tokenizer.chat_template = "{% for m in messages %}<s>{{ m.content }}</s>{% endfor %}Answer:"
    wrapped = type(plain)(plain.model, plain.tokenizer, plain.identity, "tiny", chat_template=source.chat_template)
    module = factory.zero_shot(data, backbone=wrapped)
    ids = prompts_for(module, data, data.rows("test").take(np.arange(1))).prompts[0]
    assert ids[0] == plain.tokenizer.bos_token_id
    assert plain.tokenizer.decode(ids.tolist()).endswith("#Answer:</s>Answer:")


def test_a_data_set_without_titles_is_refused(world):
    data = prepared(users=4, items=12, rows_each=12, dim=2, titles=[None] * 12)[0]
    with pytest.raises(UserError, match="has no titles"):
        factory.zero_shot(world[0]).datamodule(data, WORDS, seed=0)


def test_prompts_keep_to_the_context_of_the_backbone(world):
    data, _ = world
    small = TinySource(context=30).load(data.titles[1:], "cpu")
    module = factory.zero_shot(data, backbone=small)
    prompts = prompts_for(module, data, data.rows("test")).prompts
    assert prompts.lengths.max() <= 30
    assert prompts.counts
    ending = module.readings["ctr"].ending
    assert all(small.tokenizer.decode(prompts[index].tolist()).endswith(ending) for index in range(len(prompts)))
