"""Codes of hand-made weights, the ramp of training, and what every encoder promises that suits codes."""

from functools import partial

import pytest
import torch

from recsys_lora.cf.binary_mf import BinaryMF, sign
from recsys_lora.cf.encoder import Catalogue
from recsys_lora.cf.fit import fit_encoder
from recsys_lora.cf.settings import FitSettings, TrainerSettings
from tests.cf.made_data import checkerboard, with_strangers

# The others of that file are about vectors that can be zero, and about s = e_u · e_i.
from tests.cf.test_contract import (  # noqa: F401
    test_a_loss_that_is_not_finite_ends_the_fit,
    test_a_score_does_not_depend_on_the_batch,
    test_best_weights_are_the_ones_returned,
    test_candidates_and_catalogue_score_like_single_rows,
    test_learns_the_checkerboard,
    test_same_seed_same_scores_and_the_callers_random_state_is_kept,
    test_saving_and_loading_changes_nothing,
    test_shapes_and_widths,
    test_weights_of_other_data_are_refused_by_name,
    test_wider_padding_and_longer_histories_change_nothing,
)
from tests.rounding import SUM, assert_close

NOTHING = torch.zeros(1, 0, dtype=torch.int64)


@pytest.fixture
def factory():
    return partial(BinaryMF, dim=16, init_std=0.1, ramp_steps=40)


def by_hand(**knobs):
    """Users 1 to 3 and items 1 to 4 are seen; two bits, weights as written here."""
    encoder = BinaryMF(Catalogue.from_prepared(with_strangers()), dim=2, **knobs)
    with torch.no_grad():
        encoder.users.weight[1:4] = torch.tensor([[1.0, 2.0], [-1.0, 0.5], [0.0, 0.0]])
        encoder.items.weight[1:5] = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -2.0]])
        encoder.user_projection.weight.copy_(torch.tensor([[1.0, 0.0], [1.0, -1.0]]))
        encoder.user_projection.bias.copy_(torch.tensor([0.0, -0.5]))
        encoder.item_projection.weight.copy_(torch.eye(2))
        encoder.item_projection.bias.copy_(torch.tensor([-1.0, 1.5]))
    return encoder


def test_codes_are_the_signs_of_projections_and_the_sign_of_zero_is_one():
    encoder = by_hand().eval()
    user, item = encoder.encode(torch.tensor([1, 2, 3]), NOTHING.expand(3, 0), torch.tensor([1, 2, 4]))
    # users: (1, 1 - 2 - .5), (-1, -1 - .5 - .5), (0, -.5); items: (2, 1.5), (-4, 1.5), (-1, -.5)
    assert user.tolist() == [[1, -1], [-1, -1], [1, -1]]
    assert item.tolist() == [[1, 1], [-1, 1], [-1, -1]]


def test_ids_that_never_occur_in_train_have_the_code_of_the_bias():
    encoder = by_hand().eval()
    user, item = encoder.encode(torch.tensor([4, 0]), NOTHING.expand(2, 0), torch.tensor([5, 0]))
    assert user.tolist() == [[1, -1]] * 2
    assert item.tolist() == [[-1, 1]] * 2


def test_or_the_code_of_the_mean_row():
    encoder = by_hand(unseen="mean").eval()
    with torch.no_grad():
        encoder.items.weight[4] = torch.tensor([8.0, -9.0])  # the mean is (2, -2): (2 - 1, -2 + 1.5)
    assert encoder.item_vectors(torch.tensor([5, 0])).tolist() == [[1, -1], [-1, 1]]
    assert encoder.item_table()[5].tolist() == [1, -1]


def test_a_score_is_the_dot_product_over_the_root_of_the_width():
    encoder = by_hand().eval()
    scores = encoder.score(torch.tensor([1, 1, 2]), NOTHING.expand(3, 0), torch.tensor([1, 2, 4]))
    assert_close(scores, torch.tensor([0.0, -2.0, 2.0]) / 2**0.5, SUM)


def test_the_gradient_passes_the_sign_unchanged():
    x = torch.tensor([-2.0, 0.0, 0.3], requires_grad=True)
    (sign(x) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert sign(x).tolist() == pytest.approx([-1, 1, 1])
    assert x.grad.tolist() == [1, 2, 3]


@pytest.mark.parametrize(("done", "share"), [(0, 0.0), (100, 0.25), (200, 0.5), (400, 1.0), (1000, 1.0)])
def test_in_training_a_growing_share_of_the_entries_is_binary(done, share):
    torch.manual_seed(0)
    encoder = BinaryMF(Catalogue.from_prepared(checkerboard()), dim=64, init_std=0.5, ramp_steps=400).train()
    encoder.scorings.fill_(done)
    users = torch.arange(1, 41)
    vectors = encoder.user_vectors(users, NOTHING.expand(40, 0))
    soft = torch.tanh(encoder.users.weight[1:] @ encoder.user_projection.weight.T + encoder.user_projection.bias)
    binary = (vectors.abs() - 1).abs() < 1e-6
    assert float(binary.float().mean()) == pytest.approx(share, abs=0.03)
    assert_close(vectors[~binary], soft[~binary], SUM)
    assert torch.equal(vectors[binary] > 0, soft[binary] >= 0)


def test_only_scorings_in_training_count_and_each_once():
    encoder = by_hand(ramp_steps=4)
    batch = torch.tensor([1, 2]), NOTHING.expand(2, 0), torch.tensor([1, 2])
    encoder.eval().score(*batch)
    encoder.encode(*batch)
    assert encoder.scorings.item() == 0
    encoder.train().score(*batch)
    encoder.score_candidates(batch[0], batch[1], torch.tensor([[1, 2], [3, 4]]))
    assert encoder.scorings.item() == 2
    assert encoder.binary_share.item() == 0.5


@pytest.mark.parametrize("done", [0, 1000])
def test_every_parameter_learns_from_soft_entries_and_from_binary_ones(done):
    torch.manual_seed(0)
    encoder = BinaryMF(Catalogue.from_prepared(with_strangers()), dim=8, ramp_steps=10).train()
    encoder.scorings.fill_(done)
    encoder.score(torch.tensor([1, 2, 3]), NOTHING.expand(3, 0), torch.tensor([1, 2, 3])).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_a_fitted_encoder_was_chosen_with_binary_codes(factory, board):
    result = fit_encoder(
        factory, board, FitSettings(lr=0.02, batch_size=128), TrainerSettings(max_epochs=2, accelerator="cpu"), seed=1
    )
    user, item = result.encoder.encode(torch.arange(1, 31), NOTHING.expand(30, 0), torch.arange(1, 31))
    assert user.shape == item.shape == (30, 16)
    assert set(user.unique().tolist()) == set(item.unique().tolist()) == {-1.0, 1.0}
    assert result.encoder.scorings.item() == result.best["step"]


@torch.no_grad()
def test_unscaled_logits_are_the_dot_products_of_codes():
    catalogue = Catalogue.from_prepared(checkerboard(12, 9))
    torch.manual_seed(0)
    plain = BinaryMF(catalogue, dim=8, scaled=False).eval()
    torch.manual_seed(0)
    scaled = BinaryMF(catalogue, dim=8).eval()
    user, item, nothing = torch.tensor([1, 2, 3]), torch.tensor([4, 5, 6]), torch.zeros(3, 0, dtype=torch.int64)
    e_u, e_i = plain.encode(user, nothing, item)
    assert torch.equal(plain.score(user, nothing, item), (e_u * e_i).sum(-1))
    assert_close(scaled.score(user, nothing, item) * 8**0.5, plain.score(user, nothing, item))
