"""Training rows whose user or item is treated as unseen."""

import numpy as np
import pytest
import torch
from scipy import stats

from recsys_lora.cf.table import UNKNOWN
from recsys_lora.methods.masking import ITEM, USER, Masking, uniform
from recsys_lora.methods.vectors import VectorScale
from tests.methods import factory
from tests.methods.asking import prompts_for
from tests.methods.synthetic import WORDS, TableEncoder, prepared

TITLES = [f"Film {n}" for n in range(20)]


@pytest.fixture(scope="module")
def world():
    return prepared(users=20, items=20, rows_each=12, dim=4, titles=TITLES)


def splitmix64(index, start):
    """The reference implementation's output at `index`, on unsigned numbers that wrap around."""
    with np.errstate(over="ignore"):
        x = np.uint64(start) + np.uint64(index) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def test_numbers_are_splitmix64_of_index_and_key():
    key = (3, 2, USER)
    start = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    expected = [int(splitmix64(index, start) >> np.uint64(11)) * 2.0**-53 for index in range(50)]
    assert uniform(torch.arange(50), *key).tolist() == expected


def test_numbers_are_uniform_and_those_of_other_keys_are_others():
    index = torch.arange(20_000)
    drawn = {key: uniform(index, *key).numpy() for key in ((1, 0, USER), (1, 0, ITEM), (1, 1, USER), (2, 0, USER))}
    for numbers in drawn.values():
        assert stats.kstest(numbers, "uniform").pvalue > 0.01
        assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 0.02
    assert np.abs(np.corrcoef(list(drawn.values())) - np.eye(4)).max() < 0.02


def batch_of(world, index):
    data, encoder = world
    module = factory.cora(data, encoder)
    return prompts_for(module, data, data.rows("train")).batch(np.asarray(index), 0, "right")


def test_a_share_of_the_rows_is_masked_the_same_whatever_their_batch(world):
    whole = Masking(0.4, 0.2)(batch_of(world, range(160)), seed=1, epoch=0)
    assert 0.3 < (whole.user == UNKNOWN).float().mean() < 0.5
    assert 0.1 < (whole.items == UNKNOWN).float().mean() < 0.3
    both = ((whole.user == UNKNOWN) & (whole.item == UNKNOWN)).float().mean()
    assert 0.02 < both < 0.15  # drawn apart: .08
    some = Masking(0.4, 0.2)(batch_of(world, [150, 3, 77]), seed=1, epoch=0)
    assert torch.equal(some.user, whole.user[[150, 3, 77]])
    assert torch.equal(some.items, whole.items[[150, 3, 77]])
    for other in ({"seed": 2, "epoch": 0}, {"seed": 1, "epoch": 1}):
        assert not torch.equal(Masking(0.4, 0.2)(batch_of(world, range(160)), **other).user, whole.user)


def test_text_history_and_padding_stay(world):
    batch = batch_of(world, range(20))
    masked = Masking(1.0, 1.0)(batch, seed=1, epoch=0)
    assert (masked.user == UNKNOWN).all()
    assert (masked.items == UNKNOWN).all()
    for name in ("input_ids", "history", "label", "row", "index"):
        assert torch.equal(getattr(masked, name), getattr(batch, name))
    padded = torch.cat([batch.items, torch.zeros_like(batch.items)], dim=1)
    wide = Masking(0.0, 1.0)(type(batch)(**{**vars(batch), "items": padded}), seed=1, epoch=0)
    assert (wide.items[:, 0] == UNKNOWN).all()
    assert not wide.items[:, 1].any()
    assert Masking()(batch, seed=1, epoch=0) is batch


class Watched(TableEncoder):
    """Notes which users it is asked for, and knows the unseen ones as zeros."""

    def __init__(self, *size):
        super().__init__(*size)
        self.asked = {"train": [], "valid": []}
        self.stage = "valid"

    def encode(self, user, history, item):
        self.asked[self.stage] += user.tolist()
        known = (user > 0).unsqueeze(-1)
        return self.users[user.clamp(min=0)] * known, self.items[item.clamp(min=0)]


@pytest.mark.parametrize("method", [factory.cora, factory.collm])
def test_training_alone_is_masked(world, method):
    data, _ = world
    encoder = Watched(20, 20, 4)
    module = method(data, encoder, mask_users=0.5, batch_size=16)
    datamodule = module.datamodule(data, WORDS, seed=0)
    in_training = type(module).training_step

    def watched(batch, batch_idx):
        encoder.stage = "train"
        loss = in_training(module, batch, batch_idx)
        encoder.stage = "valid"
        return loss

    module.training_step = watched
    factory.trainer(max_epochs=2, val_check_interval=0.5).fit(module, datamodule)
    train = np.array(encoder.asked["train"])
    assert len(train) == 2 * 160
    assert 0.4 < (train == UNKNOWN).mean() < 0.6
    assert UNKNOWN not in encoder.asked["valid"]


def test_person_prompt_gives_masked_users_its_default(world):
    data, _ = world
    module = factory.person_prompt(data, mask_users=1.0, mask_items=1.0)
    module.users.limit_to(np.array([1, 2]))
    mean = module.users.weight[1:3].mean(0)
    torch.testing.assert_close(module.users(torch.tensor([UNKNOWN])), mean.unsqueeze(0))


def test_graphlora_gives_masked_pairs_the_paddings_node(world):
    data, encoder = world
    encoder = Watched(20, 20, 4)
    module = factory.graphlora(data, encoder, mask_users=1.0, mask_items=1.0)
    batch = prompts_for(module, data, data.rows("train")).batch(np.arange(4), 0, "right")
    masked = module.masking(batch, 1, 0)
    padding = type(batch)(**{**vars(batch), "user": batch.user * 0, "items": batch.items * 0})
    module.eval()
    nodes = [module.condition(part, None) or module.lowrank.state.current.shift.vectors for part in (masked, padding)]
    assert torch.equal(*nodes)


def test_noise_is_added_in_training_alone_and_has_the_size_asked_for():
    scale = VectorScale("std", noise=0.3)
    scale.user.fill_(2.0)
    user, item = torch.ones(400, 64), torch.zeros(400, 64)
    torch.manual_seed(0)
    noisy_user, noisy_item = scale(user, item)
    for noisy, clean in ((noisy_user, 0.5), (noisy_item, 0.0)):
        assert (noisy - clean).std().item() == pytest.approx(0.3, rel=0.02)
        assert noisy.mean().item() == pytest.approx(clean, abs=0.01)
    scale.eval()
    assert torch.equal(scale(user, item)[0], user / 2)
