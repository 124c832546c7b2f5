"""Answers against slow and plain ways to the same: one question at a time, whole forwards, an argmax loop."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from recsys_lora.data.loader import Shard
from recsys_lora.data.prepared import PreparedData
from recsys_lora.llm.tiny import TinySource
from recsys_lora.methods.answering import Answering
from recsys_lora.tasks.ctr import ClickThrough
from recsys_lora.tasks.explanation import Explanation
from recsys_lora.tasks.question import rows_of_others
from recsys_lora.tasks.rating import Rating
from recsys_lora.tasks.task import RatingPredictions
from recsys_lora.tasks.topk import TopK
from tests.methods import factory
from tests.methods.ckf import world as made
from tests.rounding import assert_close
from tests.tasks import world

ROOM = 6
CHOICES = ("ctr", "rating")
SOURCE = TinySource(init_std=0.2)


def with_summaries(data: PreparedData) -> PreparedData:
    summaries = [f"why {'good' if rating > 3 else 'bad'} {n}" for n, rating in enumerate(data.interactions["rating"])]
    rows = data.interactions.with_columns(summary=pl.Series(summaries))
    return PreparedData(data.folder, data.manifest, rows, data.items)


METHODS = {
    "ckf": lambda world, tasks: made.module(world, source=SOURCE, named=tasks),
    "cora": lambda world, tasks: factory.cora(*world, tasks=tasks, prompt=None, backbone=backbone_of(world)),
    "cora-suffix": lambda world, tasks: factory.cora(
        *world, tasks=tasks, prompt=None, scope="suffix", backbone=backbone_of(world)
    ),
    "collm": lambda world, tasks: factory.collm(*world, tasks=tasks, prompt=None, backbone=backbone_of(world)),
    "graphlora": lambda world, tasks: factory.graphlora(*world, tasks=tasks, prompt=None, backbone=backbone_of(world)),
}
"""Soft tokens and routed updates; generated weights, at all tokens or some; soft tokens; vectors at some tokens."""


def backbone_of(world):
    return SOURCE.load(world[0].titles[1:], "cpu")


def answering(name="ckf") -> Answering:
    """Return a model whose low-rank layers are far from where they start."""
    tasks = {
        "ctr": ClickThrough(**world.prompts()),
        "topk": TopK(**world.listed(), candidates=4, cutoffs=[1]),
        "rating": Rating(**world.prompts()),
        "explanation": Explanation(**world.prompts("{title} has {rating}?"), answer_tokens=ROOM),
    }
    data, encoder = made.data()
    data = with_summaries(data)
    module = made.started(METHODS[name]((data, encoder), tasks))
    return Answering(module, module.datamodule(data, world.WORDS, seed=0, token_budget=300))


@pytest.fixture(scope="module")
def model() -> Answering:
    return answering()


@pytest.fixture(scope="module", params=METHODS, ids=str)
def any_model(request) -> Answering:
    return answering(request.param)


def numbers(output) -> np.ndarray:
    """Return predictions as numbers."""
    return output.expected if isinstance(output, RatingPredictions) else np.asarray(output)


def asked(model: Answering, name: str, limit: int | None = 9):
    return model.datamodule.questions(name, "test", limit)


def single(model: Answering, name: str, questions, place: int, version: str, with_answers: bool = False):
    """Return one question's prompt as a batch of its own."""
    prompts = model.datamodule.prompts[name].set(questions.take(np.array([place])), version, with_answers)
    return prompts.batch(np.array([0]), model.datamodule.batching.pad_id, "right")


def logits(backbone, embeds) -> torch.Tensor:
    """Return the library's own logits (T, V) of one prompt without padding."""
    with torch.no_grad():
        return backbone.model(inputs_embeds=embeds).logits[0].float()


def own_embeds(model: Answering, batch) -> torch.Tensor:
    with torch.no_grad():
        return model.module.embeds(batch)


def read_by(model: Answering, version: str | None) -> Answering:
    """Return a model, unless it does not read a version of its prompts; None is the first that it reads."""
    if version not in (None, *model.module.versions):
        pytest.skip("this method reads one version")
    return model


@pytest.mark.parametrize("version", [None, "text"])
@pytest.mark.parametrize("name", CHOICES)
def test_choices_are_answered_as_one_by_one(any_model, name, version):
    model = read_by(any_model, version)
    questions = asked(model, name, None)
    found = numbers(model(name, questions, version, show=False))
    assert found.shape == (24,)
    model.module.eval()
    for place in range(len(questions)):
        whole = logits(model.module.backbone, own_embeds(model, single(model, name, questions, place, version)))
        assert_close(found[place], answer_of(model, name, whole[-1]), size=whole[-1])
    assert found.std() > 1e-3


def answer_of(model: Answering, name: str, last: torch.Tensor) -> float:
    """Return what the logits (V,) behind a prompt say: Yes less No, or the expected rating."""
    choices = last[model.datamodule.prompts[name].reading.choices.token_ids]
    if name == "ctr":
        return float(choices[0] - choices[1])
    return float(choices.softmax(-1) @ torch.arange(1.0, 6.0))


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("version", [None, "text"])
def test_candidates_scores_are_those_of_a_whole_forward_a_title(any_model, version, normalised, monkeypatch):
    model = read_by(any_model, version)
    monkeypatch.setattr(model.datamodule.tasks["topk"], "length_normalised", normalised)
    questions = asked(model, "topk", 5)
    found = model("topk", questions, version, show=False)
    assert found.shape == (5, 4)
    backbone = model.module.backbone
    for place in range(len(questions)):
        for candidate in range(4):
            # The way of training: the title as the prompt's answer.
            chosen = replace(questions, target=np.full(len(questions), candidate))
            batch = single(model, "topk", chosen, place, version, with_answers=True)
            count = int(batch.answer_tokens)
            chance = logits(backbone, own_embeds(model, batch)).log_softmax(-1)
            answer = batch.input_ids[0, -count:]
            assert (
                model.datamodule.prompts["topk"].tokenizer.decode(answer[:-1]).strip()
                == (model.datamodule.data.titles[questions.items[place, candidate]])
            )
            total = sum(float(chance[j - count - 1, token]) for j, token in enumerate(answer))
            assert_close(found[place, candidate], total / count if normalised else total)
    assert found.std() > 1e-2


def test_low_rank_layers_and_soft_tokens_take_part_in_titles_scores(model, monkeypatch):
    questions = asked(model, "topk", 5)
    soft, text = (model("topk", questions, version, show=False) for version in ("collaborative", "text"))
    assert np.abs(soft - text).max() > 1e-2
    condition = type(model.module).condition
    monkeypatch.setattr(
        model.module,
        "condition",
        lambda batch, vectors: condition(model.module, replace(batch, task=(batch.task + 1) % 4), vectors),
    )
    assert np.abs(model("topk", questions, "text", show=False) - text).max() > 1e-3  # the task's own factors


def test_padded_candidates_score_minus_infinity_and_change_nothing(model):
    questions = asked(model, "topk", 3)
    whole = model("topk", questions, "text", show=False)
    padded = replace(questions, items=np.pad(questions.items, ((0, 0), (0, 2))))
    found = model("topk", padded, "text", show=False)
    assert np.isneginf(found[:, 4:]).all()
    assert_close(found[:, :4], whole)


@pytest.mark.parametrize("version", [None, "text"])
def test_texts_are_those_of_an_argmax_loop_one_by_one(any_model, version):
    model = read_by(any_model, version)
    questions = asked(model, "explanation")
    found = model("explanation", questions, version, show=False)
    backbone, slot = model.module.backbone, model.module.lowrank.state
    for place in range(len(questions)):
        embeds, tokens = own_embeds(model, single(model, "explanation", questions, place, version)), []
        while len(tokens) < ROOM:
            token = int(logits(backbone, embeds)[-1].argmax())
            if token == backbone.tokenizer.eos_token_id:
                break
            tokens.append(token)
            embeds = torch.cat([embeds, backbone.embed(torch.tensor([[token]]))], dim=1)
            if slot.current is not None and slot.current.acts_at is not None:
                acts = torch.cat([slot.current.acts_at, torch.ones(1, 1, dtype=torch.bool)], dim=1)
                slot.current = replace(slot.current, acts_at=acts)
        assert found[place] == " ".join(backbone.tokenizer.decode(tokens, skip_special_tokens=True).split())
    assert len(set(found)) > 2


@pytest.mark.parametrize("name", ["ctr", "topk", "rating", "explanation"])
def test_answers_come_in_the_questions_order(model, name):
    questions = asked(model, name, 8)
    found = model(name, questions, show=False)
    order = np.random.default_rng(0).permutation(len(questions))
    again = model(name, questions.take(order), show=False)
    if name == "explanation":
        assert again == [found[place] for place in order]
    else:
        assert_close(numbers(again), numbers(found)[order])


def test_the_modules_mode_is_left_as_it_was(model):
    for mode in (True, False):
        model.module.train(mode)
        model("ctr", asked(model, "ctr", 2), show=False)
        assert model.module.mapping.training is mode
        assert not model.module.encoder.training


@pytest.mark.parametrize("name", CHOICES)
def test_shuffled_users_are_others_in_the_encoder_and_themselves_in_the_text(model, name, monkeypatch):
    questions = asked(model, name, None)
    seen = {}

    def watched(batch):
        for place, user, item, history, ids in zip(
            *(part.tolist() for part in (batch.index, batch.user, batch.item, batch.history, batch.input_ids)),
            strict=True,
        ):
            seen[place] = (user, item, history, [token for token in ids if token])
        return type(model.module).collaborative(model.module, batch)

    monkeypatch.setattr(model.module, "collaborative", watched)
    straight = numbers(model(name, questions, show=False))
    own = dict(seen)
    shuffled = numbers(model(name, questions, shuffle_users=3, show=False))
    other = rows_of_others(questions.user, 3)
    history = model.datamodule.data.history.last(questions.user, questions.position, made.HISTORY)
    assert len(own) == len(seen) == len(questions)
    for place, theirs in enumerate(other.tolist()):
        assert own[place][:3] == (questions.user[place], questions.item[place], history[place].tolist())
        assert seen[place][:3] == (questions.user[theirs], questions.item[place], history[theirs].tolist())
        assert seen[place][0] != questions.user[place]
        assert seen[place][3] == own[place][3]
    assert (np.abs(shuffled - straight) > 1e-5).all()
    np.testing.assert_array_equal(numbers(model(name, questions, shuffle_users=3, show=False)), shuffled)


def test_text_alone_does_not_ask_the_encoder(model, monkeypatch):
    monkeypatch.setattr(model.module.encoder, "encode", None)
    questions = asked(model, "ctr", 4)
    assert np.isfinite(model("ctr", questions, "text", show=False)).all()
    with pytest.raises(TypeError):
        model("ctr", questions, "collaborative", show=False)


def test_with_its_layers_off_it_answers_as_the_bare_backbone_and_as_before_afterwards():
    model = answering()
    bare = SOURCE.load(model.datamodule.data.titles[1:], "cpu")
    names = list(model.datamodule.tasks)
    before = {name: model(name, asked(model, name, 4), "text", show=False) for name in names}
    for name in names:
        questions = asked(model, name, 4)
        with model.module.disabled():
            found = model(name, questions, "text", show=False)
        assert np.array_equal(numbers(model(name, questions, "text", show=False)), numbers(before[name]))
        assert not np.array_equal(numbers(found), numbers(before[name]))
        for place in range(4):
            batch = single(model, name, questions, place, "text", with_answers=name == "topk")
            whole = logits(bare, bare.embed(batch.input_ids))
            if name in CHOICES:
                assert_close(numbers(found)[place], answer_of(model, name, whole[-1]), size=whole[-1])
            elif name == "topk":
                count = int(batch.answer_tokens)
                chance = whole.log_softmax(-1)[-count - 1 : -1]
                expected = chance[torch.arange(count), batch.input_ids[0, -count:]].mean()
                assert_close(found[place, questions.target[place]], expected)
            elif found[place]:
                first = bare.tokenizer.decode([int(whole[-1].argmax())]).strip()
                assert found[place].startswith(first)


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("make", [factory.zero_shot, factory.tallrec], ids=["zero_shot", "tallrec"])
def test_a_method_that_reads_text_alone_answers_equal_prompts_once(make, shards, monkeypatch):
    data = made.data()[0]
    module = made.started(make(data)) if make is factory.tallrec else make(data)
    model = Answering(module, module.datamodule(data, world.WORDS, seed=0, token_budget=300))
    questions = asked(model, "ctr", 6)
    alone = model("ctr", questions, show=False)
    repeated = questions.take(np.array([3, 0, 0, 5, 1, 3, 3, 2, 4]))
    read = []
    monkeypatch.setattr(module, "forward", lambda batch: read.append(len(batch)) or type(module).forward(module, batch))
    prompts = model.datamodule.prompts["ctr"].set(repeated, None)
    found = np.full(len(repeated), np.nan)
    for rank in range(shards):
        for places, scores in model._choices(prompts, Shard(rank, shards)):
            assert np.isnan(found[places]).all()  # each question is answered by one process
            found[places] = scores.detach().numpy()
    assert sum(read) == 6
    assert_close(found, alone[[3, 0, 0, 5, 1, 3, 3, 2, 4]])


def test_equal_prompts_are_asked_apart_where_the_answer_has_a_users_logit_in_it(monkeypatch):
    data, encoder = made.data()
    module = factory.tallrec(data, encoder=encoder, offset="cf")
    model = Answering(module, module.datamodule(data, world.WORDS, seed=0, token_budget=300))
    questions = asked(model, "ctr", 3).take(np.array([0, 0, 1]))
    read = []
    monkeypatch.setattr(module, "forward", lambda batch: read.append(len(batch)) or type(module).forward(module, batch))
    model("ctr", questions, show=False)
    assert sum(read) == 3
