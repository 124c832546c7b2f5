"""What every encoder promises; `factory` runs over all of them."""

import re

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from recsys_lora.cf.dot import DotProductEncoder
from recsys_lora.cf.encoder import Catalogue, CatalogueScorer, CollaborativeEncoder
from recsys_lora.cf.fit import fit_encoder, load_encoder, read_description, save_encoder, score_rows
from recsys_lora.cf.settings import FitSettings, TrainerSettings
from recsys_lora.utils.errors import UserError
from tests.cf.made_data import with_strangers
from tests.rounding import SUM, assert_close

CPU = {"accelerator": "cpu"}


def made(factory, data, seed=0):
    torch.manual_seed(seed)
    encoder = factory(Catalogue.from_prepared(data)).eval()
    with torch.no_grad():  # away from the tiny start, so that a difference shows
        for parameter in encoder.parameters():
            parameter.add_(parameter * 2)
    return encoder


def tensors(data, encoder, split="valid"):
    rows = data.rows(split)
    history = data.history.last(rows.user, rows.position, max(encoder.history_length, 1))
    return torch.from_numpy(rows.user), torch.from_numpy(history), torch.from_numpy(rows.item)


@pytest.mark.parametrize("objective", ["bce", "bpr", "sampled_softmax"])
def test_learns_the_checkerboard(factory, board, objective):
    fit = FitSettings(objective=objective, lr=0.05, batch_size=128, negatives=4)
    trainer = TrainerSettings(max_epochs=16, check_val_every_n_epoch=4, **CPU)
    result = fit_encoder(factory, board, fit, trainer, seed=1)
    test = board.rows("test")
    assert roc_auc_score(test.label, score_rows(result.encoder, test, board.history)) > 0.97


def test_best_weights_are_the_ones_returned(factory, board):
    fit = FitSettings(lr=0.05, batch_size=128)
    result = fit_encoder(factory, board, fit, TrainerSettings(max_epochs=4, patience=4, **CPU), seed=1)
    valid = board.rows("valid")
    found = roc_auc_score(valid.label, score_rows(result.encoder, valid, board.history))
    assert found == pytest.approx(max(record["valid_auc"] for record in result.curve), abs=1e-9)
    assert found == pytest.approx(result.best["valid_auc"], abs=1e-9)
    assert not any(parameter.requires_grad for parameter in result.encoder.parameters())


def test_same_seed_same_scores_and_the_callers_random_state_is_kept(factory, board):
    settings = FitSettings(lr=0.01, batch_size=256), TrainerSettings(max_epochs=2, **CPU)
    scores = []
    torch.manual_seed(7)
    before = torch.get_rng_state()
    for seed in (1, 1, 2):
        encoder = fit_encoder(factory, board, *settings, seed=seed).encoder
        scores.append(score_rows(encoder, board.rows("test"), board.history))
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


def test_saving_and_loading_changes_nothing(factory, board, tmp_path):
    encoder, test = made(factory, board), board.rows("test")
    save_encoder(tmp_path, encoder, {"key": "k", "metrics": {"valid_auc": 0.5}})
    again = load_encoder(factory, Catalogue.from_prepared(board), tmp_path)
    assert isinstance(again, CollaborativeEncoder)
    assert np.array_equal(score_rows(encoder, test, board.history), score_rows(again, test, board.history))
    assert read_description(tmp_path)["metrics"] == {"valid_auc": 0.5}
    assert not again.training


def test_weights_of_other_data_are_refused_by_name(factory, board, tmp_path):
    save_encoder(tmp_path, made(factory, board), {})
    with pytest.raises(UserError, match=r"encoder\.safetensors: saved by another encoder or for other data .*size"):
        load_encoder(factory, Catalogue.from_prepared(with_strangers()), tmp_path)
    with pytest.raises(UserError, match="no saved encoder"):
        load_encoder(factory, Catalogue.from_prepared(board), tmp_path / "nowhere")


def test_weights_that_are_no_numbers_are_refused_by_name(factory, board, tmp_path):
    encoder = made(factory, board)
    name, weight = next(iter(encoder.named_parameters()))
    weight.data.view(-1)[0] = float("nan")
    save_encoder(tmp_path, encoder, {})
    with pytest.raises(UserError, match=rf"encoder\.safetensors: {re.escape(name)} holds values that are not finite"):
        load_encoder(factory, Catalogue.from_prepared(board), tmp_path)


def test_every_parameter_gets_a_gradient(factory, board):
    encoder = made(factory, board).train()
    encoder.score(*tensors(board, encoder)).sum().backward()
    without = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    # a softmax does not feel what is added to all its inputs: the key's bias has no effect, as in the published SASRec
    assert all(name.endswith("key.bias") for name in without)


@torch.no_grad()
def test_shapes_and_widths(factory, board):
    encoder = made(factory, board)
    user, history, item = tensors(board, encoder)
    e_u, e_i = encoder.encode(user, history, item)
    assert e_u.shape == (len(user), encoder.user_dim)
    assert e_i.shape == (len(user), encoder.item_dim)
    assert encoder.score(user, history, item).shape == (len(user),)


@torch.no_grad()
def test_a_dot_product_is_a_dot_product(factory, board):
    encoder = made(factory, board)
    if not isinstance(encoder, DotProductEncoder):
        pytest.skip("scores through a network")
    batch = tensors(board, encoder)
    e_u, e_i = encoder.encode(*batch)
    expected = [sum(a * b for a, b in zip(u, i, strict=True)) for u, i in zip(e_u.tolist(), e_i.tolist(), strict=True)]
    assert_close(encoder.score(*batch), torch.tensor(expected), SUM)


@torch.no_grad()
def test_candidates_and_catalogue_score_like_single_rows(factory, board):
    encoder = made(factory, board)
    user, history, _ = (t[:5] for t in tensors(board, encoder))
    every = torch.arange(board.num_items + 1)
    one_by_one = torch.stack([encoder.score(user, history, every[i].expand(5)) for i in every], 1)
    assert_close(encoder.score_candidates(user, history, every.expand(5, -1)), one_by_one)
    if isinstance(encoder, CatalogueScorer):
        assert_close(encoder.score_all(user, history), one_by_one)


@torch.no_grad()
def test_a_score_does_not_depend_on_the_batch(factory, board):
    encoder = made(factory, board)
    batch = tensors(board, encoder)
    together = encoder.score(*batch)
    alone = torch.cat([encoder.score(*(t[i : i + 1] for t in batch)) for i in range(len(batch[0]))])
    assert_close(together, alone)
    test = board.rows("test")
    big, small = (score_rows(encoder, test, board.history, batch_size=n) for n in (8192, 7))
    assert_close(big, small)


@torch.no_grad()
def test_wider_padding_and_longer_histories_change_nothing(factory, board):
    encoder = made(factory, board)
    user, history, item = tensors(board, encoder)
    wider = torch.cat([torch.zeros(len(user), 3, dtype=torch.int64), history], 1)
    assert_close(encoder.score(user, wider, item), encoder.score(user, history, item))


@pytest.mark.parametrize("decay", ["l2", "decoupled"])
@pytest.mark.parametrize("objective", ["bce", "bpr"])
def test_ids_unseen_in_train_are_zero_after_the_fit(factory, decay, objective):
    data = with_strangers()
    fit = FitSettings(objective=objective, lr=0.05, weight_decay=0.01, decay=decay, batch_size=4)
    encoder = fit_encoder(factory, data, fit, TrainerSettings(max_epochs=3, **CPU), seed=1).encoder
    if not isinstance(encoder, DotProductEncoder):
        assert not encoder.users(torch.tensor([0, 4])).any()
        assert not encoder.items(torch.tensor([0, 5])).any()
        assert not encoder.history_items(torch.tensor([0, 5])).any()
        return
    assert not encoder.item_vectors(torch.tensor([0, 5])).any()
    assert encoder.item_vectors(torch.tensor([1])).any()
    if encoder.history_length == 0:
        assert not encoder.user_vectors(torch.tensor([0, 4]), torch.zeros(2, 0, dtype=torch.int64)).any()
        assert encoder.user_vectors(torch.tensor([1]), torch.zeros(1, 0, dtype=torch.int64)).any()


@torch.no_grad()
def test_unseen_ids_can_be_the_mean_of_the_seen(factory):
    data = with_strangers()
    encoder = made(lambda catalogue: factory(catalogue, unseen="mean"), data)
    every = torch.arange(data.num_items + 1)
    table = encoder.items(every) if hasattr(encoder, "items") else encoder.item_vectors(every)
    assert_close(table[5], table[1:5].mean(0), SUM)
    assert not table[0].any()
    if isinstance(encoder, CatalogueScorer):
        assert_close(encoder.item_table(), encoder.item_vectors(every), SUM)


@torch.no_grad()
def test_a_user_without_history_has_a_finite_score(factory, board):
    encoder = made(factory, board)
    nothing = torch.zeros(2, max(encoder.history_length, 1), dtype=torch.int64)
    scores = encoder.score(torch.tensor([1, 1]), nothing, torch.tensor([3, 4]))
    assert scores.isfinite().all()


def test_one_class_is_refused(factory, board):
    rows = board.rows("train")
    only = {**board.splits, "train": rows.take(rows.label > 0)}
    data = type(board)(board.num_users, board.num_items, board.history, only)
    with pytest.raises(UserError, match="train rows hold 1 of the two classes"):
        fit_encoder(factory, data, FitSettings(), TrainerSettings(max_epochs=1, **CPU), seed=1)


def test_a_loss_that_is_not_finite_ends_the_fit(factory, board):
    with pytest.raises(UserError, match=r"no longer a finite number .*lower cf\.fit\.lr"):
        fit_encoder(factory, board, FitSettings(lr=1e38), TrainerSettings(max_epochs=3, **CPU), seed=1)
