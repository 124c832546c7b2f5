"""Biases of matrix factorisation; what all encoders promise is in test_contract.py."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from recsys_lora.cf.encoder import Catalogue
from recsys_lora.cf.fit import fit_encoder, score_rows
from recsys_lora.cf.mf import MF
from recsys_lora.cf.settings import FitSettings, TrainerSettings
from recsys_lora.cf.table import UNKNOWN
from tests.cf.made_data import from_arrays, with_strangers


def biased(data):
    torch.manual_seed(0)
    encoder = MF(Catalogue.from_prepared(data), dim=3, biases=True).eval()
    with torch.no_grad():
        encoder.biases.overall.fill_(0.3)
        for table in (encoder.biases.users, encoder.biases.items):
            table.weight.copy_(torch.randn_like(table.weight) * table.seen.unsqueeze(1))
    return encoder


def test_all_three_scores_are_mu_and_two_biases_and_a_product():
    encoder = biased(with_strangers())
    users, items = torch.tensor([1, 2, 4, UNKNOWN]), torch.tensor([[1, 5], [2, 3], [1, 5], [4, UNKNOWN]])
    none = users.new_zeros(4, 0)
    b_u, b_i = encoder.biases.users.weight[:, 0], encoder.biases.items.weight[:, 0]
    p, q = encoder.users.weight, encoder.items.weight

    def by_hand(user, item):  # user 4 and item 5 occur in validation only
        known_user, known_item = user in (1, 2, 3), item in (1, 2, 3, 4)
        score = torch.tensor(0.3) + (b_u[user] if known_user else 0) + (b_i[item] if known_item else 0)
        return score + (p[user] @ q[item] if known_user and known_item else 0)

    expected = torch.stack([torch.stack([by_hand(u, i) for i in row]) for u, row in zip(users, items, strict=True)])
    torch.testing.assert_close(encoder.score_candidates(users, none, items), expected)
    for column in (0, 1):
        torch.testing.assert_close(encoder.score(users, none, items[:, column]), expected[:, column])
    catalogue = encoder.score_all(users, none)
    torch.testing.assert_close(catalogue[:3].gather(1, items[:3]), expected[:3])


def test_vectors_are_what_they_are_without_biases():
    data = with_strangers()
    torch.manual_seed(0)
    plain = MF(Catalogue.from_prepared(data), dim=3).eval()
    row = torch.tensor([1, 2]), torch.zeros(2, 0, dtype=torch.long), torch.tensor([3, 1])
    for one, other in zip(plain.encode(*row), biased(data).encode(*row), strict=True):
        assert torch.equal(one, other)


def test_without_vectors_the_fit_is_sklearns_logistic_regression_of_user_and_item():
    draw = np.random.default_rng(0)
    user, item = np.repeat(np.arange(1, 41), 20), np.concatenate([draw.permutation(30)[:20] + 1 for _ in range(40)])
    logit = 0.5 + draw.normal(0, 1.5, 41)[user] + draw.normal(0, 1.5, 31)[item]
    label = draw.random(len(user)) < 1 / (1 + np.exp(-logit))
    data = from_arrays(user, item, label, draw.choice(["train", "valid", "test"], len(user), p=[0.6, 0.2, 0.2]))
    train, rows, decay = data.rows("train"), data.rows("test"), 2e-3
    trainer = TrainerSettings(max_epochs=400, check_val_every_n_epoch=400, accelerator="cpu")
    # Vectors that start at zero have no gradient: the biases are all there is.
    factory = partial(MF, dim=1, init_std=0.0, biases=True)
    fit = FitSettings(lr=0.02, weight_decay=decay, batch_size=len(train))
    found = fit_encoder(factory, data, fit, trainer, seed=1).encoder

    def one_hot(rows):
        return np.hstack([np.ones((len(rows), 1)), np.eye(41)[rows.user], np.eye(31)[rows.item]])

    oracle = LogisticRegression(C=1 / (decay * len(train)), fit_intercept=False, tol=1e-8, max_iter=1000)
    expected = oracle.fit(one_hot(train), train.label).decision_function(one_hot(rows))
    np.testing.assert_allclose(score_rows(found, rows, data.history), expected, atol=0.01)


@pytest.mark.parametrize("unseen", ["zero", "mean", "history"])
def test_an_unknown_user_scores_as_an_unseen_one(unseen):
    data = with_strangers()
    encoder = MF(Catalogue.from_prepared(data), dim=3, unseen=unseen, history_length=2).eval()
    history, item = torch.tensor([[1, 2]]), torch.tensor([3])
    known, unseen_user, unknown = (torch.tensor([number]) for number in (1, 4, UNKNOWN))
    vector = encoder.user_vectors(unknown, history)
    assert torch.equal(vector, encoder.user_vectors(unseen_user, history))
    assert not torch.equal(vector, encoder.user_vectors(known, history))
    assert torch.equal(encoder.item_vectors(unknown), encoder.item_vectors(torch.tensor([5])))
    assert torch.isfinite(encoder.score(unknown, history, item)).all()
