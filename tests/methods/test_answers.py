"""Losses of mixed batches, against each row by itself with the whole head."""

import dataclasses

import pytest
import torch

from recsys_lora.methods.answers import Answers
from recsys_lora.methods.validation import TaskMeans
from tests.methods.ckf import world as made
from tests.methods.ckf.world import CHOICES, LIKED, RATING, TITLE
from tests.rounding import SUM, assert_close


@pytest.fixture(scope="module")
def module():
    return made.started(made.module(made.data())).eval()


def by_hand(module, one):
    """Return the loss of a batch of one row, from all logits."""
    hidden = module.hidden(one)
    logits = module.backbone.model.get_output_embeddings()(hidden)[0]  # (T, V)
    if int(one.task) == TITLE:
        n = int(one.answer_tokens)
        return -logits.log_softmax(-1)[-n - 1 : -1].gather(1, one.input_ids[0, -n:, None]).mean()
    return -logits[-1, CHOICES[int(one.task)].token_ids].log_softmax(-1)[int(one.target)]


@pytest.mark.parametrize("padding", ["left", "right"])
def test_every_row_s_loss_is_what_it_is_by_itself(module, padding):
    prompts = made.pairs(18).versions["collaborative"]
    rows = module.loss(made.batch(prompts, padding=padding))
    expected = torch.stack([by_hand(module, made.batch(prompts, [index])) for index in range(18)])
    assert_close(rows, expected)


def test_gradients_of_a_mixed_batch_are_those_of_its_rows(module):
    prompts = made.pairs(9).versions["text"]
    trained = list(module.lowrank.parameters())
    together = torch.autograd.grad(module.loss(made.batch(prompts)).sum(), trained)
    alone = torch.autograd.grad(sum(by_hand(module, made.batch(prompts, [i])) for i in range(9)), trained)
    for one, other in zip(together, alone, strict=True):
        assert_close(one, other)


def test_choice_logits_are_the_task_s_answers_in_their_order(module):
    prompts = made.pairs(18).versions["collaborative"]
    batch = made.batch(prompts, range(RATING, 18, 3))
    logits = module(batch)
    last = module.backbone.last(module.hidden(batch), batch.attention_mask)
    assert_close(logits, module.backbone.logits_at(last, [30, 31, 32, 20, 33]), SUM)
    loss = torch.nn.functional.cross_entropy(logits, batch.target, reduction="none")
    assert_close(loss, module.loss(batch), SUM)


@pytest.mark.parametrize("rows", [[0, 1], [2, 5]])
def test_choices_are_read_for_one_task_that_has_some(module, rows):
    with pytest.raises(ValueError, match="one task"):
        module(made.batch(made.pairs(9).versions["collaborative"], rows))


def test_a_row_without_an_answer_is_refused(module):
    batch = made.batch(made.pairs(9).versions["collaborative"])
    hidden = module.hidden(batch)
    unknown = dataclasses.replace(batch, target=torch.full_like(batch.target, -1))
    silent = dataclasses.replace(batch, answer_tokens=torch.zeros_like(batch.answer_tokens))
    for wrong in (unknown, silent):
        with pytest.raises(RuntimeError, match="every row's answer"):
            module.answers.loss(wrong, hidden)


@pytest.mark.parametrize("tasks", [(LIKED,), (TITLE,)])
def test_choices_or_texts_alone_work(module, tasks):
    batch = made.batch(made.pairs(6, tasks=tasks).versions["collaborative"])
    single = Answers(module.backbone, [CHOICES[tasks[0]]], [tasks[0] == LIKED])
    hidden = module.hidden(batch)
    alone = single.loss(dataclasses.replace(batch, task=torch.zeros_like(batch.task)), hidden)
    assert_close(alone, module.answers.loss(batch, hidden), SUM)


def test_task_means_count_rows_over_all_updates():
    means = TaskMeans(3)
    means.update(torch.tensor([1.0, 2.0, 6.0]), torch.tensor([0, 2, 0]))
    means.update(torch.tensor([5.0]), torch.tensor([0]))
    mean, count = means.compute()
    assert mean[[0, 2]].tolist() == [4.0, 2.0]
    assert mean[1].isnan()
    assert count.tolist() == [3, 0, 1]
