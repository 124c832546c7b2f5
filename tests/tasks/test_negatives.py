import numpy as np
import pytest

from recsys_lora.tasks.negatives import NegativeSampler
from recsys_lora.utils.errors import UserError
from tests.tasks import world


def drawn(data, split="test", sampling="uniform", count=4, any_item=False, times=50):
    rows = data.rows(split)
    rows = rows.take(np.repeat(np.flatnonzero(rows.label > 0), times))
    sampler = NegativeSampler(data, split, sampling, any_item)
    return rows, sampler.draw(rows.user, rows.item, count, np.random.default_rng(0))


def liked(data, user):
    return set(data.history.items[data.history.offsets[user] : data.history.offsets[user + 1]].tolist())


@pytest.mark.parametrize("sampling", ["uniform", "popularity"])
@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_negatives_are_distinct_and_never_liked_in_any_split(split, sampling):
    data = world.many()
    rows, items = drawn(data, split, sampling, times=5)
    assert items.min() >= 1
    assert items.max() <= world.ITEMS
    for user, negatives in zip(rows.user.tolist(), items.tolist(), strict=True):
        assert len(set(negatives)) == 4
        assert not liked(data, user) & set(negatives)


def test_the_authors_way_draws_liked_items_too_but_never_the_rows_own():
    data = world.many()
    rows, items = drawn(data, any_item=True)
    own = [
        set(negatives) & liked(data, user) for user, negatives in zip(rows.user.tolist(), items.tolist(), strict=True)
    ]
    assert any(own)
    assert not (items == rows.item[:, None]).any()


def test_where_items_are_held_out_the_others_are_as_new_as_the_right_one():
    rows = [(user, item, 5, "train") for user in range(1, 6) for item in range(1, 6)]
    rows += [(user, 5 + (user + place) % 8, 5 - 4 * place, "test") for user in range(1, 6) for place in (0, 1)]
    data = world.data(sorted(rows), split="cold_items", items=13)
    new = set(data.rows("test").item.tolist())
    _, items = drawn(data, count=3)
    assert set(items.reshape(-1).tolist()) <= new
    assert len(set(items.reshape(-1).tolist())) == len(new)
    _, anything = drawn(data, count=3, any_item=True)
    assert not set(anything.reshape(-1).tolist()) <= new
    with pytest.raises(UserError, match=r"sampling=popularity: with data/split=cold_items, no item of test occurs in"):
        drawn(data, sampling="popularity")


def test_uniform_draws_are_uniform_over_what_is_left():
    data = world.many(users=1)
    _, items = drawn(data, count=1, times=35_000)
    counts = np.bincount(items[:, 0], minlength=world.ITEMS + 1)[1:]
    left = counts[counts > 0]
    assert len(left) == world.ITEMS - len(liked(data, 1))
    assert np.abs(left - left.mean()).max() < 5 * np.sqrt(left.mean())


def test_popular_items_are_drawn_as_often_as_they_occur_in_train():
    rows = [(1, 1, 5, "train"), (1, 2, 5, "test")]
    rows += [(user, 3, 1, "train") for user in (2, 3, 4)] + [(5, 4, 1, "train"), (5, 5, 1, "test")]
    _, items = drawn(world.data(rows), sampling="popularity", count=1, times=8000)
    counts = np.bincount(items[:, 0], minlength=6)
    assert counts[5] == 0  # not in train
    assert counts[3] / counts[4] == pytest.approx(3.0, rel=0.1)


def test_training_negatives_occur_in_train():
    data = world.data([(1, 1, 5, "train"), (1, 4, 5, "test"), (2, 2, 1, "train"), (2, 3, 5, "test")])
    _, items = drawn(data, "train", count=1)
    assert set(items[:, 0].tolist()) == {2}


def test_what_is_available_is_what_can_be_drawn():
    data = world.many()
    sampler = NegativeSampler(data, "test", "uniform")
    assert sampler.available(np.array([3])).tolist() == [world.ITEMS - len(liked(data, 3))]


def test_a_user_who_leaves_just_enough_items_gets_exactly_those():
    rows = [(1, item, 5, "train") for item in range(1, 37)] + [(1, 37, 5, "test")]
    data = world.data([*rows, *[(2, item, 1, "train") for item in (38, 39, 40)]])
    _, items = drawn(data, "test", count=3, times=20)
    assert all(set(row) == {38, 39, 40} for row in items.tolist())


def test_items_too_rare_for_rejection_are_drawn_row_by_row():
    data = world.data([(1, 1, 5, "test"), *[(2, item, 1, "train") for item in (2, 3)]])
    sampler = NegativeSampler(data, "test", "popularity")
    sampler.weight[1] = 1e12  # the user's own item takes practically every draw
    sampler.limits = np.cumsum(sampler.weight)
    items = sampler.draw(np.array([1]), np.array([1]), 2, np.random.default_rng(0))
    assert set(items[0].tolist()) == {2, 3}
