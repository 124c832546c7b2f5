"""Versions of every question, and batches that mix tasks in fixed shares."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from recsys_lora.data.batch import join
from recsys_lora.data.training import TaskOrder, TrainSet, temperature_shares
from recsys_lora.utils.errors import UserError
from tests.data.test_batch import prompt_set

TASK = np.repeat([0, 1, 2], [40, 20, 4])
LENGTHS = np.random.default_rng(0).integers(5, 50, len(TASK))


def order(shares=(1, 1, 1), batch_size=6, **knobs) -> TaskOrder:
    return TaskOrder(TASK, LENGTHS, shares, batch_size, seed=3, **knobs)


def pairs() -> TrainSet:
    text = replace(prompt_set([3, 4, 5, 6]), task=np.array([0, 0, 1, 1]))
    return TrainSet({"text": text, "soft": replace(prompt_set([5, 4, 7, 9]), task=np.array([0, 0, 1, 1]))})


def test_every_batch_has_every_tasks_whole_share():
    for batch in order().batches():
        assert Counter(TASK[batch].tolist()) == {0: 2, 1: 2, 2: 2}


def test_broken_shares_are_rounded_and_hold_on_average():
    batches = order(shares=(5, 2, 1), batch_size=4).batches()
    counts = np.stack([np.bincount(TASK[batch], minlength=3) for batch in batches])
    assert set(np.unique(counts[:, 0])) <= {2, 3}
    assert set(np.unique(counts[:, 2])) <= {0, 1}
    many = [np.bincount(TASK[order_of(epoch).ravel()], minlength=3) for epoch in range(40)]
    np.testing.assert_allclose(np.mean(many, axis=0) / 64, np.array([5, 2, 1]) / 8, atol=0.01)


def order_of(epoch) -> np.ndarray:
    made = order(shares=(5, 2, 1), batch_size=4)
    made.set_epoch(epoch)
    return made.batches()


def test_no_question_comes_again_before_all_others_of_its_task_have_come():
    drawn = order().batches().ravel()
    for task, size in enumerate([40, 20, 4]):
        times = Counter(drawn[TASK[drawn] == task].tolist())
        assert max(times.values()) - (min(times.values()) if len(times) == size else 0) <= 1


def test_a_task_without_questions_leaves_its_share_to_the_others():
    batches = TaskOrder(np.array([0] * 8 + [2] * 8), np.ones(16), (1, 5, 1), 4, seed=0).batches()
    assert (np.sort(batches, axis=1) < 8).sum(axis=1).tolist() == [2] * 4


def test_no_share_for_what_there_is_says_so():
    with pytest.raises(UserError, match="train_share"):
        TaskOrder(np.zeros(4, dtype=int), np.ones(4), (0.0, 1.0), 2, seed=0)


def test_the_order_is_a_function_of_seed_and_epoch():
    first, again, other = order(), order(), order()
    other.set_epoch(1)
    assert np.array_equal(first.batches(), again.batches())
    assert not np.array_equal(first.batches(), other.batches())
    kept = order(repeat=True)
    kept.set_epoch(1)
    assert np.array_equal(first.batches(), kept.batches())


def test_questions_of_like_length_come_together():
    lengths = np.random.default_rng(0).integers(5, 200, 3200)
    made = TaskOrder(np.arange(3200) % 2, lengths, (1, 1), 8, seed=0)
    padded = sum(lengths[batch].max() * 8 for batch in made.batches())
    assert padded < 1.25 * lengths.sum()


def test_both_versions_are_about_the_same_questions():
    batch = pairs().batch(np.array([2, 0]), 0, "left")
    [text], [soft] = batch.versions["text"], batch.versions["soft"]
    assert text.row.tolist() == soft.row.tolist() == [52, 50]
    assert text.input_ids.shape == (2, 5)
    assert soft.input_ids.shape == (2, 7)
    assert batch.to("meta").versions["soft"][0].user.device.type == "meta"
    assert pairs().lengths.tolist() == [5, 4, 7, 9]
    with pytest.raises(ValueError, match="same questions"):
        TrainSet({"text": prompt_set([1, 2]), "soft": replace(prompt_set([1, 2]), user=np.array([5, 5]))})


def test_each_version_is_cut_into_groups_by_its_own_lengths():
    batch = replace(pairs(), forward_overhead_tokens=1.5).batch(np.arange(4), 0, "right", 8)
    text, soft = batch.versions["text"], batch.versions["soft"]
    assert [part.row.tolist() for part in text] == [[52, 53], [50, 51]]
    assert [part.row.tolist() for part in soft] == [[53], [52], [50, 51]]
    assert [part.input_ids.shape[1] for part in soft] == [9, 7, 5]
    assert len(batch) == 4
    assert int(batch.tokens) == 18 + 25
    assert {part.global_rows for part in (*text, *soft)} == {batch.global_rows} == {8}


def test_joined_sets_keep_each_rows_own():
    one = prompt_set([2, 3], soft=[[0, 1], [2, -1]])
    two = prompt_set([4], soft=[[1]])
    two = replace(two, items=two.items[:, :1])
    both = join([one, two])
    assert both.prompts.soft_positions.tolist() == [[0, 1], [2, -1], [1, -1]]
    assert both.items.tolist() == [[11, 31], [12, 32], [11, 0]]
    assert [both.prompts[i].tolist() for i in range(3)] == [[1, 2], [101, 102, 103], [1, 2, 3, 4]]
    assert both.row.tolist() == [50, 51, 50]


def test_temperature_evens_out():
    assert temperature_shares([100, 300], 1) == [0.25, 0.75]
    assert temperature_shares([100, 10_000], 2) == pytest.approx([1 / 11, 10 / 11])
    assert temperature_shares([1, 1_000_000], 1e9) == pytest.approx([0.5, 0.5], abs=1e-6)
