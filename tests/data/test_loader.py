from collections import Counter
from itertools import chain

import numpy as np
import pytest
import torch

from recsys_lora.data.loader import ScoreLoader, Shard, TrainLoader
from recsys_lora.data.training import TaskOrder, TrainSet
from recsys_lora.utils.errors import UserError
from tests.data.test_batch import prompt_set

LENGTHS = np.random.default_rng(0).integers(20, 200, 403)


def loader(batch_size=8, seed=3, shard=None, lengths=LENGTHS, repeat=False):
    return TrainLoader(
        TrainSet({"text": prompt_set(lengths)}), order(batch_size, seed, lengths, repeat), 0, "right", shard
    )


def order(batch_size=8, seed=3, lengths=LENGTHS, repeat=False):
    return TaskOrder(np.zeros(len(lengths), dtype=int), np.asarray(lengths), (1,), batch_size, seed, repeat)


def places(batches):
    return [batch.versions["text"][0].index.tolist() for batch in batches]


def joined(lists):
    return list(chain.from_iterable(lists))


def test_an_epoch_has_each_row_at_most_once_in_batches_of_one_size():
    batches = places(loader())
    assert [len(batch) for batch in batches] == [8] * 50 == [8] * len(loader())
    assert max(Counter(joined(batches)).values()) == 1


def test_lengths_in_a_batch_are_alike_but_company_changes():
    made = order(seed=0)
    spread = np.ptp(LENGTHS[made.batches()], axis=1).mean()
    mixed = np.ptp(LENGTHS[np.random.default_rng(1).permutation(400).reshape(50, 8)], axis=1).mean()
    assert spread < mixed / 5
    first, second = ({frozenset(batch) for batch in places(loader(seed=seed))} for seed in (0, 1))
    assert not first & second


def test_rows_left_out_differ_by_epoch():
    def left_out(epoch):
        one = loader()
        one.sampler.set_epoch(epoch)
        return set(range(403)) - set(joined(places(one)))

    assert len(left_out(0)) == 3
    assert left_out(0) != left_out(1)


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_the_same_global_batches(world):
    alone = places(loader())
    shared = [list(loader(shard=Shard(rank, world))) for rank in range(world)]
    for number, whole in enumerate(alone):
        parts = [part[number] for part in shared]
        assert sorted(joined(places(parts))) == sorted(whole)
        assert {part.global_rows for part in parts} == {8}


def test_fewer_rows_than_a_batch_make_one_batch():
    assert [len(batch) for batch in places(loader(batch_size=1000))] == [403]


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(UserError, match="cannot be shared by 9 processes"):
        loader(shard=Shard(0, 9))


def test_a_stopped_epoch_goes_on_with_the_next_batch():
    one = loader()
    one.sampler.set_epoch(2)
    whole = places(one)
    stopped = loader()
    stopped.sampler.set_epoch(2)
    iterator = iter(stopped)
    begun = [places([next(iterator)])[0] for _ in range(20)]
    resumed = loader()
    resumed.load_state_dict(stopped.state_dict())
    assert resumed.state_dict() == {"epoch": 2, "batches": 20}
    assert begun + places(resumed) == whole
    resumed.sampler.set_epoch(3)
    assert len(places(resumed)) == 50


def test_a_finished_epoch_is_followed_by_a_whole_one():
    one = loader()
    list(one)
    after = loader()
    after.load_state_dict(one.state_dict())
    after.sampler.set_epoch(1)
    assert len(places(after)) == 50


def test_an_epoch_can_be_gone_through_twice():
    one = loader()
    assert places(one) == places(one)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 2, 7, 403])
def test_scoring_takes_each_row_once_over_all_processes(world, rows):
    lengths = LENGTHS[:rows]
    seen = [
        place
        for rank in range(world)
        for batch in ScoreLoader(prompt_set(lengths), 1000, 0, "right", Shard(rank, world))
        for place in batch.index.tolist()
    ]
    assert sorted(seen) == list(range(rows))


def test_scoring_batches_keep_to_the_token_budget_longest_first():
    batches = list(ScoreLoader(prompt_set(LENGTHS), 1000, 0, "right"))
    assert all(batch.input_ids.numel() <= 1000 for batch in batches)
    widths = [batch.input_ids.shape[1] for batch in batches]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] == LENGTHS.max()
    real = sum(int(batch.attention_mask.sum()) for batch in batches)
    assert real / sum(batch.input_ids.numel() for batch in batches) > 0.9


def test_a_prompt_longer_than_the_budget_is_a_batch_of_its_own():
    assert [len(batch) for batch in ScoreLoader(prompt_set([50, 5, 5]), 20, 0, "right")] == [1, 2]


def test_labels_travel_with_their_rows():
    for batch in loader():
        [part] = batch.versions["text"]
        assert torch.equal(part.label, (part.index % 2).float())
