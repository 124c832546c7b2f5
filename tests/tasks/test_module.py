import logging

import numpy as np
import pytest

from recsys_lora.data.loader import Batching, Shard
from recsys_lora.data.training import temperature_shares
from recsys_lora.llm.tiny import TinySource
from recsys_lora.tasks.ctr import ClickThrough
from recsys_lora.tasks.module import Mixing, TaskData
from recsys_lora.tasks.rating import Rating
from recsys_lora.tasks.selection import Limits
from recsys_lora.tasks.topk import TopK
from recsys_lora.utils.errors import UserError
from tests.tasks import test_prompts, world

CTR, TOPK, RATING = 0, 1, 2
SIZES = [180, 90, 180]
"""Training questions of the three tasks: six rows of each of 30 users, three of them positives with a history."""


@pytest.fixture(scope="module")
def backbone():
    return TinySource().load(world.many().titles[1:], "cpu")


def three(ctr=1.0, topk=1.0, rating=1.0, **of_topk):
    return {
        "ctr": ClickThrough(**world.prompts(), train_share=ctr),
        "topk": TopK(**world.listed(), train_share=topk, **of_topk),
        "rating": Rating(**world.prompts(), train_share=rating),
    }


def made(
    backbone, tasks=None, data=None, versions=("collaborative", "text"), temperature=None, token_budget=4096, **knobs
) -> TaskData:
    data, tasks = data or world.many(), tasks or three()
    prompts = {
        name: test_prompts.made(
            task, data, backbone, number, templates={version: task.template(version) for version in versions}
        )
        for number, (name, task) in enumerate(tasks.items())
    }
    batching = Batching(8, backbone.pad_id, token_budget=token_budget)
    options = {"batching": batching, "seed": 0, "mixing": Mixing(temperature), **knobs}
    return TaskData(data, tasks, prompts, versions=versions, **options)


def trained(backbone, *args, **knobs) -> TaskData:
    module = made(backbone, *args, **knobs)
    module.setup("fit")
    return module


def counts(module: TaskData) -> list[int]:
    return np.bincount(module.train.task, minlength=len(module.tasks)).tolist()


def test_training_rows_are_those_of_the_largest_share_and_others_follow_theirs(backbone):
    module = trained(backbone, three(ctr=2.0), limits=Limits(train=20))
    assert module.shares == [0.5, 0.25, 0.25]
    assert counts(module) == [20, 10, 10]
    assert counts(trained(backbone)) == SIZES
    assert counts(trained(backbone, limits=Limits(train=150))) == [150, 90, 150]  # a task gives no more than it has
    alone = trained(backbone, {"ctr": three()["ctr"]}, world.many(valid=(5, 2)), limits=Limits(train=20))
    assert (
        alone.train.versions["text"].row.tolist() == module.train.versions["text"].row[:20].tolist()
    )  # as among others


def test_batches_hold_the_tasks_in_their_shares_and_both_versions_of_each_question(backbone):
    module = trained(backbone, three(ctr=2.0), limits=Limits(train=32))
    batches = list(module.train_dataloader())
    assert len(batches) == 8
    for batch in batches:
        [text], [collaborative] = batch.versions["text"], batch.versions["collaborative"]
        assert np.bincount(text.task, minlength=3).tolist() == [4, 2, 2]
        assert (text.row == collaborative.row).all()
        assert text.soft_positions.shape[1] == 0
        assert (collaborative.soft_positions[:, :2] >= 0).all()


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_a_temperature_mixes_by_numbers_of_questions_times_the_tasks_own_shares(backbone, temperature):
    module = trained(backbone, three(rating=3.0), limits=Limits(train=8), temperature=temperature)
    weights = np.array(SIZES) ** (1 / temperature) * [1.0, 1.0, 3.0]
    np.testing.assert_allclose(module.shares, weights / weights.sum(), rtol=1e-12)
    assert temperature_shares(SIZES, 1.0) == pytest.approx([0.4, 0.2, 0.4])


@pytest.mark.parametrize("temperature", [None, 2.0])
def test_a_task_without_training_questions_has_no_share_and_is_named(backbone, temperature, caplog):
    with caplog.at_level(logging.INFO):
        module = trained(backbone, three(min_history=100), temperature=temperature, limits=Limits(train=10))
    assert module.shares == [0.5, 0.0, 0.5]
    assert counts(module) == [10, 0, 10]
    assert "topk: no question in train" in caplog.text
    assert (module.valid.task == TOPK).sum() == 30  # validated all the same


def test_a_share_of_nothing_leaves_a_task_out_of_training(backbone):
    module = trained(backbone, three(topk=0.0), limits=Limits(train=32))
    assert module.shares == [0.5, 0.0, 0.5]
    assert all(not (batch.versions["text"][0].task == TOPK).any() for batch in module.train_dataloader())


def test_shares_of_nothing_alone_are_refused(backbone):
    with pytest.raises(UserError, match="raise a task's train_share"):
        trained(backbone, three(ctr=0.0, topk=0.0, rating=0.0))


def test_a_split_without_any_question_is_refused(backbone):
    data = world.data([(1, 1, 5, "train"), (1, 2, 1, "train"), (2, 3, 5, "test")])
    with pytest.raises(UserError, match="valid: no task has a question there"):
        trained(backbone, {"rating": Rating(**world.prompts())}, data)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_every_question_of_every_task_is_validated_once(backbone, world_size):
    module = made(backbone, token_budget=200)
    module.setup("validate")
    assert module.train is None
    expected = [
        (number, row, item)
        for number, (name, task) in enumerate(module.tasks.items())
        for questions in [task.questions(module.data, "valid", None, 0)]
        for row, item in zip(questions.row.tolist(), questions.items[:, 0].tolist(), strict=True)
    ]
    loaders = [module.score_loader(module.valid, Shard(rank, world_size)) for rank in range(world_size)]
    batches = [batch for loader in loaders for batch in loader]
    found = [
        triple
        for batch in batches
        for triple in zip(batch.task.tolist(), batch.row.tolist(), batch.item.tolist(), strict=True)
    ]
    assert sorted(found) == sorted(expected)
    assert len(expected) == 90
    if world_size == 1:
        assert sum(map(len, module.val_dataloader())) == 90


def test_joined_questions_keep_candidates_soft_tokens_and_answers_of_their_own(backbone):
    module = made(backbone)
    module.setup("validate")
    candidates = (module.valid.items > 0).sum(axis=1)
    soft = (module.valid.prompts.soft_positions >= 0).sum(axis=1)
    is_topk = module.valid.task == TOPK
    assert set(candidates[is_topk]) == {10}
    assert set(candidates[~is_topk]) == {1}
    assert (soft == candidates + 1).all()  # one for the user
    assert ((module.valid.answer_tokens > 0) == is_topk).all()


def test_valid_rows_limit_each_task_and_the_sample_seed_decides_which(backbone):
    parts = {}
    for seed in (0, 0, 1):
        module = made(backbone, limits=Limits(valid=7, seed=seed))
        module.setup("validate")
        assert np.bincount(module.valid.task).tolist() == [7, 7, 7]
        rows = module.valid.row.tolist()
        assert parts.setdefault(seed, rows) == rows
    assert parts[0] != parts[1]


def test_published_rows_to_validate_on_are_those_of_every_task(backbone):
    data = world.many()
    data.manifest["split"]["published_valid"] = 0.5
    module = made(backbone, data=data, limits=Limits(valid="published"))
    module.setup("validate")
    published = set(data.sample("valid", "published", 0).row.tolist())
    assert len(published) == 15
    for task in (CTR, TOPK, RATING):  # a user has one row there, a positive
        assert set(module.valid.row[module.valid.task == task].tolist()) == published


def test_a_split_without_published_rows_is_refused(backbone):
    with pytest.raises(UserError, match="valid_rows=published: user_time has no published valid sample"):
        made(backbone, limits=Limits(valid="published")).setup("validate")


def test_a_method_of_one_version_trains_on_that_alone(backbone):
    module = trained(backbone, {"ctr": three()["ctr"]}, world.many(valid=(5, 2)), versions=("text",))
    assert list(module.train.versions) == ["text"]
    assert len(module.train_dataloader()) == SIZES[CTR] // 8
    assert module.train_pairs.item.tolist() == module.data.rows("train").item.tolist()


def test_questions_of_one_class_are_refused(backbone):
    with pytest.raises(UserError, match=r"train rows: all 1 have the label .*data\.train_rows"):
        trained(backbone, {"ctr": three()["ctr"]}, limits=Limits(train=1))


def test_questions_are_tokenised_once(backbone):
    module = trained(backbone, limits=Limits(train=16))
    train, valid = module.train, module.valid
    module.setup("fit")
    module.setup("validate")
    assert module.train is train
    assert module.valid is valid


def test_items_instead_of_rows_are_asked_once_each_of_all_train_rows(backbone):
    data, own = world.many(valid=(5, 2)), {"ctr": three()["ctr"]}
    every = trained(backbone, own, data, versions=("text",), train_on="items").train.versions["text"]
    rows = data.rows("train")
    assert every.items[:, 0].tolist() == sorted(set(rows.item.tolist()))
    assert not every.user.any()
    assert np.array_equal(every.label, own["ctr"].item_questions(own["ctr"].questions(data, "train", None, 0)).label)
    limited = trained(backbone, own, data, versions=("text",), train_on="items", limits=Limits(train=3))
    few = limited.train.versions["text"]
    assert len(few) == 3
    labels = dict(zip(every.items[:, 0].tolist(), every.label.tolist(), strict=True))
    assert [labels[item] for item in few.items[:, 0].tolist()] == few.label.tolist()
    asked = trained(backbone, own, data, versions=("text",), train_on="items").valid
    assert asked.user.all()  # validation asks rows


def test_items_can_only_be_asked_yes_or_no_questions(backbone):
    with pytest.raises(UserError, match=r"model.train_on=items: topk asks no yes-or-no questions: .*train_on=rows"):
        trained(backbone, train_on="items")
