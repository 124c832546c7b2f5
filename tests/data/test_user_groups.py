"""Training batches in which rows of one user stand side by side."""

from collections import Counter

import numpy as np
import pytest

from recsys_lora.data.loader import Shard, TrainLoader
from recsys_lora.data.training import POOL_BATCHES, TaskOrder, TrainSet
from recsys_lora.data.user_groups import count_pairs, grouped_by_user, longest_of_group
from tests.data.test_batch import prompt_set

DRAWN = np.random.default_rng(0)
LENGTHS = DRAWN.integers(5, 60, 500)
USERS = DRAWN.zipf(1.5, 500) % 40
TASK = np.zeros(500, dtype=int)


def order(size, users=USERS, epoch=0, seed=3, batch_size=8):
    made = TaskOrder(TASK, LENGTHS, (1,), batch_size, seed, users=users, rows_per_user=size)
    made.set_epoch(epoch)
    return made


def runs(users):
    """Return the lengths of the runs of equal users, in order."""
    found = []
    for place, user in enumerate(users):
        if place and user == users[place - 1]:
            found[-1] += 1
        else:
            found.append(1)
    return found


def in_random_order(seed, epoch, batch_size=8):
    """The order of training without groups, of one task, written plainly."""
    generator = np.random.default_rng([seed, epoch])
    batches = len(LENGTHS) // batch_size
    stream = generator.permutation(np.arange(len(LENGTHS)))[: batches * batch_size]
    pool = POOL_BATCHES * batch_size
    parts = [stream[begin : begin + pool] for begin in range(0, len(stream), pool)]
    by_length = np.concatenate([sorted(part, key=lambda row: LENGTHS[row]) for part in parts])
    return generator.permutation(by_length.reshape(batches, batch_size))


@pytest.mark.parametrize("epoch", [0, 3])
@pytest.mark.parametrize("users", [None, USERS], ids=["no users", "users"])
def test_groups_of_one_row_are_the_order_without_groups(users, epoch):
    made = order(1, users, epoch)
    assert np.array_equal(made.batches(), in_random_order(3, epoch))


@pytest.mark.parametrize("size", [2, 4, 7])
def test_rows_of_a_user_make_as_few_groups_as_can_be(size):
    generator = np.random.default_rng(1)
    rows = generator.permutation(500)
    grouped, groups = grouped_by_user(rows, USERS[rows], size, generator)
    assert sorted(grouped.tolist()) == list(range(500))
    assert groups[0] == 0
    assert set(np.diff(groups).tolist()) == {0, 1}
    users_of = {group: set(USERS[grouped[groups == group]].tolist()) for group in groups.tolist()}
    assert all(len(users) == 1 for users in users_of.values())
    sizes = Counter(groups.tolist())
    for user, count in Counter(USERS.tolist()).items():
        own = sorted(sizes[group] for group, users in users_of.items() if users == {user})
        assert sum(own) == count
        assert own[1:] == [size] * (len(own) - 1)


def test_groups_come_in_random_order_and_so_do_rows_within_a_user():
    generator = np.random.default_rng(2)
    first = []
    for _ in range(300):
        rows = generator.permutation(6)
        users = np.array([7, 7, 7, 7, 7, 9])  # a single row beside a user of many
        grouped, _ = grouped_by_user(rows, users[rows], 2, generator)
        first.append(grouped[0])
    counts = np.bincount(first, minlength=6) / 300
    assert counts[5] == pytest.approx(1 / 4, abs=0.07)  # of four groups
    assert counts[:5] == pytest.approx(np.full(5, 3 / 20), abs=0.07)


def test_batches_hold_whole_groups_but_for_their_ends():
    made = order(4)
    batches = made.batches()
    assert max(Counter(batches.ravel().tolist()).values()) == 1
    together = np.mean([np.mean(np.diff(USERS[batch]) == 0) for batch in batches])
    apart = np.mean([np.mean(np.diff(USERS[batch]) == 0) for batch in order(1).batches()])
    assert together > 0.5 > 2 * apart
    inner = [run for batch in batches for run in runs(USERS[batch])[1:-1]]
    assert Counter(run % 4 for run in inner)[0] > len(inner) / 3
    assert not np.array_equal(batches, order(4, epoch=1).batches())
    assert np.array_equal(batches, order(4).batches())


def test_groups_of_like_length_come_together():
    def padded(made):
        return sum(LENGTHS[batch].max() * 8 for batch in made.batches())

    mixed = np.random.default_rng(1).permutation(496).reshape(62, 8)
    assert padded(order(2)) < sum(LENGTHS[batch].max() * 8 for batch in mixed)


def test_a_task_that_comes_again_is_grouped_anew():
    task = np.repeat([0, 1], [40, 8])
    users = np.tile([1, 2, 3, 4], 12)
    made = TaskOrder(task, np.ones(48), (1, 1), 8, seed=0, users=users, rows_per_user=2)
    drawn = made.batches()
    assert Counter(task[drawn].ravel().tolist()) == {0: 24, 1: 24}
    assert set(Counter(drawn[task[drawn] == 1].tolist()).values()) == {3}


def test_the_longest_of_a_group_is_at_all_of_its_places():
    lengths, groups = np.array([3, 9, 2, 2, 5]), np.array([0, 0, 1, 2, 2])
    assert longest_of_group(lengths, groups).tolist() == [9, 9, 2, 5, 5]
    assert longest_of_group(lengths[:0], groups[:0]).tolist() == []


def test_pairs_are_those_of_a_double_loop():
    users, positive = USERS[:60], np.random.default_rng(4).random(60) < 0.6
    expected = sum(users[i] == users[j] and positive[i] and not positive[j] for i in range(60) for j in range(60))
    assert count_pairs(users, positive) == expected > 0
    assert count_pairs(users[:0], positive[:0]) == 0


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_take_consecutive_rows_and_know_the_pairs_of_all(world):
    made = prompt_set(LENGTHS)
    columns = vars(made) | {"user": USERS, "label": (np.arange(500) % 3 > 0).astype(np.float32)}
    rows = TrainSet({"text": type(made)(**columns)}, binary=[True])
    loaders = [TrainLoader(rows, order(4), 0, "right", Shard(rank, world)) for rank in range(world)]
    for whole, *parts in zip(order(4).batches(), *loaders, strict=True):
        seen = [part.versions["text"][0].index.numpy() for part in parts]
        assert np.array_equal(np.concatenate(seen), whole)
        expected = sum(rows.pairs(index) for index in seen)
        assert {part.global_pairs for part in parts} == {expected}
        assert {part.global_rows for part in parts} == {8}
        assert {part.to("cpu").global_pairs for part in parts} == {expected}


def test_questions_that_are_not_answered_by_yes_or_no_make_no_pairs():
    made = prompt_set(LENGTHS[:12])
    columns = vars(made) | {"user": made.user * 0 + 1, "task": np.arange(12) // 6}
    rows = TrainSet({"text": type(made)(**columns)}, binary=[True, False])
    assert rows.pairs(np.arange(12)) == rows.pairs(np.arange(6)) == 9
    assert rows.pairs(np.arange(6, 12)) == 0


def test_groups_need_users():
    with pytest.raises(ValueError, match="needs users"):
        TaskOrder(TASK, LENGTHS, (1,), 8, 0, rows_per_user=2)
