"""e_u of users that train does not know, against sklearn's ridge regression on vectors made by plain loops."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from recsys_lora.cf.encoder import Catalogue
from recsys_lora.cf.fit import fit_encoder, score_rows
from recsys_lora.cf.fold_in import PSEUDO_ITEMS, RIDGE
from recsys_lora.cf.lightgcn import LightGCN
from recsys_lora.cf.mf import MF
from recsys_lora.cf.settings import FitSettings, TrainerSettings
from recsys_lora.cf.table import UNKNOWN
from tests.cf.made_data import checkerboard, from_arrays

ENCODERS = {"mf": partial(MF, dim=6, init_std=0.5), "lightgcn": partial(LightGCN, dim=6, init_std=0.5)}


@pytest.fixture(params=ENCODERS)
def encoder(request):
    torch.manual_seed(0)
    board = checkerboard(users=40, items=30)
    return board, ENCODERS[request.param](Catalogue.from_prepared(board), unseen="history", history_length=5).eval()


def pooled(items, table, mean):
    total = sum((table[item] - mean for item in items), np.zeros(table.shape[1]))
    return total / (len(items) + PSEUDO_ITEMS)


def test_it_is_a_ridge_regression_from_histories_to_users(encoder):
    board, encoder = encoder
    train = board.rows("train")
    users = encoder.user_vectors(torch.arange(41), torch.zeros(41, 0, dtype=torch.long)).detach().double().numpy()
    items = encoder.item_table().detach().double().numpy()
    seen_items, seen_users = np.unique(train.item), np.unique(train.user)
    v, u = items[seen_items].mean(0), users[seen_users].mean(0)
    liked = [train.item[(train.user == user) & (train.label > 0)] for user in range(1, 41)]
    x = np.stack([pooled(own, items, v) for own in liked])
    model = Ridge(alpha=RIDGE * np.trace(x.T @ x) / 6, fit_intercept=False).fit(x, users[1:] - u)
    histories = [[3, 5, 9], [2], [], [1, 2, 3, 4, 5, 6, 7]]  # of the last one, five items are read
    expected = u + model.predict(np.stack([pooled(own[-5:], items, v) for own in histories]))
    padded = torch.tensor([[0] * (7 - len(own)) + own for own in histories])
    found = encoder.user_vectors(torch.full((4,), UNKNOWN), padded).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_users_that_train_knows_and_those_without_history_are_as_with_the_mean(encoder):
    board, encoder = encoder
    torch.manual_seed(0)
    mean = type(encoder)(Catalogue.from_prepared(board), dim=6, init_std=0.5, unseen="mean").eval()
    history, none = torch.full((2, 5), 3), torch.zeros(2, 5, dtype=torch.long)
    known, unknown = torch.tensor([1, 7]), torch.full((2,), UNKNOWN)
    assert torch.equal(encoder.user_vectors(known, history), mean.user_vectors(known, history))
    assert torch.equal(encoder.user_vectors(unknown, none), mean.user_vectors(unknown, none))
    assert not torch.equal(encoder.user_vectors(unknown, history), mean.user_vectors(unknown, history))


def test_it_follows_the_weights(encoder):
    _, encoder = encoder
    history, unknown = torch.tensor([[3, 5, 9]]), torch.tensor([UNKNOWN])
    before = encoder.user_vectors(unknown, history)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.mul_(2.0)
    torch.testing.assert_close(encoder.user_vectors(unknown, history), 2 * before)


def test_new_users_of_the_checkerboard_are_told_apart_by_what_they_liked():
    board = checkerboard(users=60, items=30)
    rows = {split: board.rows(split) for split in ("train", "valid", "test")}
    parts = [(rows[split].user, rows[split].item, rows[split].label, split) for split in rows]
    user, item, label = (np.concatenate([part[at] for part in parts]) for at in range(3))
    split = np.concatenate([np.full(len(part[0]), part[3]) for part in parts])
    split = np.where((user > 50) & (split == "train"), "valid", split)  # the last ten are new
    order = np.argsort(user, kind="stable")
    data = from_arrays(user[order], item[order], label[order], split[order])
    fit, trainer = FitSettings(lr=0.05, batch_size=128), TrainerSettings(max_epochs=16, accelerator="cpu")
    test = data.rows("test")
    test = test.take((test.user > 50) & (test.position >= 5))

    def right(unseen):
        factory = partial(MF, dim=16, init_std=0.1, unseen=unseen)
        encoder = fit_encoder(factory, data, fit, trainer, seed=1).encoder
        return float(np.mean((score_rows(encoder, test, data.history) > 0) == (test.label > 0)))

    assert right("history") > 0.95
    assert right("mean") < 0.8


def test_it_follows_a_fused_optimiser_which_counts_no_versions(encoder):
    _, encoder = encoder
    history, unknown = torch.tensor([[3, 5, 9]]), torch.tensor([UNKNOWN])
    before = encoder.user_vectors(unknown, history)
    encoder.train()
    optimizer = torch.optim.Adam(encoder.parameters(), lr=0.1, fused=True)
    encoder.user_vectors(unknown, history).sum().backward()
    optimizer.step()
    after = encoder.eval().user_vectors(unknown, history)
    weights = {name: value.clone() for name, value in encoder.state_dict().items()}
    encoder.load_state_dict(weights)  # copies count: whatever was kept is forgotten
    assert torch.equal(encoder.user_vectors(unknown, history), after)
    assert not torch.equal(before, after)
