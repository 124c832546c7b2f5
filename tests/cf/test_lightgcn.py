import numpy as np
import pytest
import torch

from recsys_lora.cf.encoder import Catalogue
from recsys_lora.cf.lightgcn import LightGCN, normalised_adjacency
from tests.cf.made_data import checkerboard, from_arrays, with_strangers
from tests.rounding import SUM, assert_close

NOBODY = torch.zeros(3, 0, dtype=torch.int64)


def dense(catalogue):
    """D^-1/2 A D^-1/2 entry by entry."""
    first = catalogue.num_users + 1
    a = np.zeros((first + catalogue.num_items + 1,) * 2)
    for user, item in zip(catalogue.train_user.tolist(), catalogue.train_item.tolist(), strict=True):
        a[user, first + item] = a[first + item, user] = 1.0
    degree = a.sum(1)
    for i, j in zip(*a.nonzero(), strict=True):
        a[i, j] /= np.sqrt(degree[i] * degree[j])
    return a


@pytest.fixture(params=["checkerboard", "with_strangers", "repeated"])
def catalogue(request):
    if request.param == "repeated":  # one pair twice is one edge
        user, item = [1, 1, 1, 2, 2], [1, 1, 2, 2, 2]
        return Catalogue.from_prepared(from_arrays(user, item, [1, 1, 1, 1, 0], ["train"] * 4 + ["valid"]))
    return Catalogue.from_prepared(checkerboard(12, 9) if request.param == "checkerboard" else with_strangers())


def test_adjacency_against_a_dense_one(catalogue):
    assert_close(normalised_adjacency(catalogue).to_dense().numpy(), dense(catalogue), SUM)


@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_propagation_and_gradient_against_dense_powers(catalogue, layers):
    encoder = LightGCN(catalogue, dim=3, layers=layers)
    a = torch.from_numpy(dense(catalogue)).float()
    weight = encoder.weight.detach().clone().requires_grad_()
    expected = sum(torch.linalg.matrix_power(a, k) @ weight for k in range(layers + 1)) / (layers + 1)
    assert_close(encoder.propagated(), expected, SUM)
    pull = torch.randn_like(expected)
    (expected * pull).sum().backward()
    (encoder.propagated() * pull).sum().backward()
    assert_close(encoder.weight.grad, weight.grad, SUM)


def test_propagation_is_kept_in_evaluation_and_renewed_when_weights_change(catalogue):
    encoder = LightGCN(catalogue, dim=3).eval()
    with torch.inference_mode():
        kept = encoder.propagated()
        assert encoder.propagated() is kept
    with torch.no_grad():
        encoder.load_state_dict({"weight": encoder.weight * 2})
        assert_close(encoder.propagated(), kept * 2, SUM)
        encoder.weight.mul_(2)
        assert_close(encoder.propagated(), kept * 4, SUM)
    assert not kept.is_inference()  # a method may put it into a graph that has a gradient


def test_evaluation_mode_still_has_a_gradient_where_one_is_asked_for(catalogue):
    encoder = LightGCN(catalogue, dim=3).eval()
    encoder.score(torch.tensor([1]), NOBODY[:1], torch.tensor([1])).sum().backward()
    assert encoder.weight.grad.abs().sum() > 0
