"""Candidates of one user: the scores are those of one prompt at a time, and what the prompts share is read once."""

import functools
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from recsys_lora.cf.din import DIN
from recsys_lora.cf.encoder import Catalogue
from recsys_lora.data.live import LiveData
from recsys_lora.methods.candidates import candidate_questions, score_candidates
from recsys_lora.methods.lora import LoRA
from recsys_lora.methods.tallrec import TALLRec
from recsys_lora.tasks.ctr import ClickThrough
from recsys_lora.tasks.rating import Rating
from recsys_lora.utils.errors import UserError
from tests.methods import factory, test_binllm
from tests.methods.asking import forwards
from tests.methods.ckf import world as ckf
from tests.methods.synthetic import WORDS, prepared
from tests.rounding import assert_close
from tests.tasks import world as tasks

USER, ITEMS = 3, [7, 1, 20, 4, 11, 7]
TITLES = [f"Film {number} {'long ' * (number % 5)}" for number in range(30)]


@functools.cache
def small(dim=4):
    return prepared(users=20, items=30, rows_each=12, dim=dim, titles=TITLES)


def din():
    torch.manual_seed(1)
    return DIN(Catalogue.from_prepared(small()[0]), dim=4, history_length=3, init_std=1.0).eval()


def tallrec(data, encoder):
    shared = {"prompt": factory.template(), **vars(LoRA(targets=factory.ALL, dropout=0.0))}
    return TALLRec(**{**factory._with_lora(data, "tallrec", 1e-3, {}), **shared})


def binllm(_data, _encoder):
    return test_binllm.binllm(*test_binllm.world(users=20, items=30, rows_each=12, titles=TITLES))


METHODS = {
    "zero_shot": lambda data, encoder: factory.zero_shot(data),
    "zero_shot, yes": lambda data, encoder: factory.zero_shot(data, score="yes"),
    "tallrec": tallrec,
    "collm": factory.collm,
    "collm, din": lambda data, encoder: factory.collm(data, din()),
    "binllm": binllm,
    "person_prompt": lambda data, encoder: factory.person_prompt(data),
    "prompt4nr": lambda data, encoder: factory.prompt4nr(data),
    "graphlora": factory.graphlora,
    "cora": factory.cora,
    "cora, suffix": lambda data, encoder: factory.cora(data, encoder, scope="suffix"),
}
IN_FULL = {"cora"}


def of_method(name):
    """Return (module, datamodule) with low-rank factors that change the scores."""
    data, encoder = small()
    module = METHODS[name](data, encoder)
    if module.lowrank is not None:
        ckf.started(module)
    if name == "binllm":
        data = test_binllm.world(users=20, items=30, rows_each=12, titles=TITLES)[0]
    return module, module.datamodule(data, WORDS, seed=0)


def of_ckf(names=("rating", "ctr"), mapping=None):
    data, encoder = small(6)
    kinds = {"ctr": ClickThrough(**tasks.prompts()), "rating": Rating(**tasks.prompts())}
    asked = {name: kinds[name] for name in names}
    module = ckf.started(ckf.module((data, encoder), named=asked, mapping=mapping))
    return module, module.datamodule(data, tasks.WORDS, seed=0)


def one_by_one(module, datamodule, items):
    """Score a prompt at a time by the model's whole logits."""
    found = []
    for item in items:
        prompts = datamodule.prompts["ctr"].set(candidate_questions(datamodule.data, USER, [item]))
        yes, no = datamodule.prompts["ctr"].reading.choices.token_ids
        batch = prompts.batch(np.array([0]), datamodule.batching.pad_id, "right")
        with torch.no_grad():
            logits = module.backbone.model(inputs_embeds=module.eval().embeds(batch)).logits[0, -1]
        found.append(float(logits[yes] - (logits[no] if module.score != "yes" else 0)))
    return np.array(found)


@pytest.mark.parametrize("name", METHODS)
def test_scores_are_those_of_one_prompt_at_a_time(name):
    module, datamodule = of_method(name)
    expected = one_by_one(module, datamodule, ITEMS)
    seen = forwards(module.backbone)
    got = score_candidates(module, datamodule, USER, ITEMS)
    assert_close(got, expected)
    assert np.ptp(expected) > 1e-3
    assert [rows for rows, _ in seen] == ([6] if name in IN_FULL else [1, 6])
    assert_close(score_candidates(module, datamodule, USER, ITEMS, share_prefix=False), got)


@pytest.mark.parametrize("name", ["tallrec", "collm"])
def test_the_shared_part_goes_on_past_the_users_own_token(name):
    module, datamodule = of_method(name)
    prompts = datamodule.prompts["ctr"].set(candidate_questions(datamodule.data, USER, ITEMS)).prompts
    seen = forwards(module.backbone)
    score_candidates(module, datamodule, USER, ITEMS)
    alike = [len(set(column)) == 1 for column in zip(*(prompts[index].tolist() for index in range(6)), strict=False)]
    length = alike.index(False)
    assert seen == [(1, length), (6, int(prompts.lengths.max()) - length)]
    assert name != "collm" or prompts.soft_positions[0, 0] < length


@pytest.mark.parametrize("name", ["cora, suffix", "graphlora"])
def test_the_shared_part_ends_before_what_is_a_prompts_own(name):
    module, datamodule = of_method(name)
    prompts = datamodule.prompts["ctr"].set(candidate_questions(datamodule.data, USER, ITEMS)).prompts
    seen = forwards(module.backbone)
    score_candidates(module, datamodule, USER, ITEMS)
    length = int(prompts.soft_positions[:, 0].min() if name == "graphlora" else prompts.title_starts.min())
    alike = [len(set(column)) == 1 for column in zip(*(prompts[index].tolist() for index in range(6)), strict=False)]
    assert 1 < length < alike.index(False)  # all titles begin with the same word, which has the pair's weights
    assert seen == [(1, length), (6, int(prompts.lengths.max()) - length)]


def test_candidates_whose_histories_were_shortened_differently_share_less():
    module, datamodule = of_method("cora, suffix")
    template = datamodule.prompts["ctr"].reading.wordings["text"].template
    template.max_tokens = (
        int(datamodule.prompts["ctr"].set(candidate_questions(datamodule.data, USER, ITEMS)).prompts.lengths.max()) - 1
    )
    questions = candidate_questions(datamodule.data, USER, ITEMS)
    assert 0 < sum(datamodule.prompts["ctr"].set(questions).prompts.counts.values()) < len(ITEMS)
    expected = score_candidates(module, datamodule, USER, ITEMS, share_prefix=False)
    assert_close(score_candidates(module, datamodule, USER, ITEMS), expected)


def test_an_encoder_whose_user_vector_depends_on_the_item_shares_what_stands_before_it():
    module, datamodule = of_method("collm, din")
    prompts = datamodule.prompts["ctr"].set(candidate_questions(datamodule.data, USER, ITEMS)).prompts
    seen = forwards(module.backbone)
    score_candidates(module, datamodule, USER, ITEMS)
    assert seen[0] == (1, prompts.soft_positions[0, 0])


@pytest.mark.parametrize("mapping", [None, {"bridge": "none"}], ids=["meta", "none"])
def test_ckf_answers_its_click_through_task(mapping):
    module, datamodule = of_ckf(mapping=mapping)
    expected = one_by_one(module, datamodule, ITEMS)
    seen = forwards(module.backbone)
    got = score_candidates(module, datamodule, USER, ITEMS)
    assert_close(got, expected)
    assert [rows for rows, _ in seen] == [1, 6]


def test_ckf_without_that_task_is_refused():
    with pytest.raises(UserError, match=r"answers rating: .* tasks=\[ctr\]"):
        score_candidates(*of_ckf(names=("rating",)), USER, ITEMS)


def test_a_budget_cuts_the_candidates_and_changes_no_score():
    module, datamodule = of_method("collm")
    expected = score_candidates(module, datamodule, USER, ITEMS)
    datamodule.batching = replace(datamodule.batching, token_budget=60)
    seen = forwards(module.backbone)
    assert_close(score_candidates(module, datamodule, USER, ITEMS), expected)
    rests = [tokens for _, tokens in seen if tokens < 20]
    assert len(rests) == len(ITEMS)  # a batch each
    assert len(seen) == len(ITEMS) + 2  # the first whole, and what the others share with it


def test_the_mode_is_left_as_it_was_and_nothing_to_score_is_nothing():
    module, datamodule = of_method("tallrec")
    module.train()
    assert score_candidates(module, datamodule, USER, []).shape == (0,)
    assert module.training


def test_rows_know_all_positives_or_as_many_as_asked():
    data, _ = small()
    known = data.history.offsets[USER + 1] - data.history.offsets[USER]
    assert known > 1
    assert candidate_questions(data, USER, ITEMS).position.tolist() == [known] * 6
    assert candidate_questions(data, USER, ITEMS, position=1).position.tolist() == [1] * 6
    assert candidate_questions(data, USER, ITEMS).item.tolist() == ITEMS


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [((0, [1]), "user 0"), ((21, [1]), "1 to 20"), ((1, [2, 31]), "item 31"), ((1, [1], 99), "position=99")],
)
def test_what_is_unknown_is_refused(arguments, complaint):
    with pytest.raises(UserError, match=complaint):
        candidate_questions(small()[0], *arguments)


@pytest.mark.parametrize("name", ["collm, din", "graphlora", "person_prompt"])
def test_room_for_more_users_and_items_changes_no_score_and_scores_them(name):
    module, datamodule = of_method(name)
    expected = score_candidates(module, datamodule, USER, ITEMS)
    module.grow(1, 2)
    assert_close(score_candidates(module, datamodule, USER, ITEMS), expected)
    live = LiveData(datamodule.data).with_items(pl.DataFrame({"item_id": ["a", "b"], "title": ["New", "Newer"]}))
    later = module.datamodule(live, WORDS, seed=0)
    assert_close(score_candidates(module, later, USER, ITEMS), expected)
    assert np.isfinite(score_candidates(module, later, live.anonymous, [31, 32, 1])).all()
