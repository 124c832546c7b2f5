import csv
import gc
import json
import math
import subprocess
import sys

import lightning
import pytest
import torch

from recsys_lora.cf.dot import distinct
from recsys_lora.cf.encoder import Catalogue
from recsys_lora.cf.fit import fit_encoder, read_description, save_encoder, score_rows
from recsys_lora.cf.mf import MF
from recsys_lora.cf.module import CFModule, IndexBatches, RowTensors, bpr, draw_items, pointwise, sampled_softmax
from recsys_lora.cf.settings import FitSettings, TrainerSettings
from recsys_lora.evaluation.ranking import auc
from tests.cf.made_data import checkerboard, from_arrays, with_strangers
from tests.methods import factory
from tests.rounding import SUM, assert_close


def test_catalogue_holds_train_positives_and_what_was_seen():
    catalogue = Catalogue.from_prepared(with_strangers())
    edges = list(zip(catalogue.train_user.tolist(), catalogue.train_item.tolist(), strict=True))
    assert edges == [(1, 1), (1, 3), (2, 2), (2, 3)]
    assert catalogue.seen_users.tolist() == [False, True, True, True, False]
    assert catalogue.seen_items.tolist() == [False, True, True, True, True, False]


def test_rows_carry_the_positives_before_them():
    data = with_strangers()
    rows = RowTensors(data.rows("valid"), data.history, 2)
    user, history, item, label = rows.pick(torch.tensor([0, 1, 3]))
    assert user.tolist() == [1, 2, 4]
    assert history.tolist() == [[1, 3], [2, 3], [0, 0]]
    assert item.tolist() == [5, 5, 1]
    assert label.tolist() == [1.0, 0.0, 1.0]


def test_batches_hold_every_row_once_in_an_order_of_seed_and_epoch():
    batches, again = (IndexBatches(torch.arange(10), 4, seed=3) for _ in range(2))
    first, second = list(batches), list(batches)
    assert len(batches) == len(first) == 3
    assert sorted(len(batch) for batch in first) == [3, 3, 4]
    assert sorted(torch.cat(first).tolist()) == list(range(10))
    assert torch.cat(first).tolist() != torch.cat(second).tolist()
    assert torch.cat(list(again)).tolist() == torch.cat(first).tolist()
    assert torch.cat(list(IndexBatches(torch.arange(10), 4, seed=None))).tolist() == list(range(10))


class Fixed:
    """Scores an item by its number, whoever asks."""

    def score(self, user, history, item):
        return item.float()

    def score_candidates(self, user, history, items):
        return items.float()


def test_losses_by_hand():
    user, history, item = torch.tensor([1, 1]), torch.zeros(2, 0), torch.tensor([2, 3])
    negatives = torch.tensor([[1, 2], [1, 4]])
    softplus = lambda x: math.log1p(math.exp(x))  # noqa: E731
    expected = (softplus(-2) + softplus(3)) / 2
    assert_close(pointwise(Fixed(), user, history, item, torch.tensor([1.0, 0.0])), expected, SUM)
    expected = (softplus(1 - 2) + softplus(2 - 2) + softplus(1 - 3) + softplus(4 - 3)) / 4
    assert_close(bpr(Fixed(), user, history, item, negatives), expected, SUM)
    # the second negative of the first row is the positive itself: left out
    first = math.log(math.exp(2) + math.exp(1)) - 2
    second = math.log(math.exp(3) + math.exp(1) + math.exp(4)) - 3
    assert_close(sampled_softmax(Fixed(), user, history, item, negatives), (first + second) / 2, SUM)


def test_drawn_items_are_seen_ones_and_all_of_them():
    drawn = draw_items(torch.tensor([2, 5, 7]), rows=100, count=3)
    assert drawn.shape == (100, 3)
    assert set(drawn.flatten().tolist()) == {2, 5, 7}


def test_ranking_objectives_learn_from_positive_rows_only():
    data = with_strangers()
    catalogue = Catalogue.from_prepared(data)
    train, valid = (RowTensors(data.rows(split), data.history, 0) for split in ("train", "valid"))
    labels = {}
    for objective in ("bce", "bpr"):
        module = CFModule(MF(catalogue, dim=2), catalogue, train, valid, FitSettings(objective=objective), seed=0)
        labels[objective] = train.label[torch.cat(list(module.train_dataloader()))]
    assert len(labels["bce"]) == len(train)
    assert labels["bpr"].tolist() == [1.0] * 4


@pytest.mark.parametrize(("decay", "expected"), [("l2", torch.optim.Adam), ("decoupled", torch.optim.AdamW)])
def test_decay_chooses_the_optimiser(decay, expected):
    data = with_strangers()
    catalogue = Catalogue.from_prepared(data)
    rows = RowTensors(data.rows("train"), data.history, 0)
    fit = FitSettings(lr=0.5, weight_decay=0.25, decay=decay)
    optimizer = CFModule(MF(catalogue, dim=2), catalogue, rows, rows, fit, seed=0).configure_optimizers()
    assert type(optimizer) is expected
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (0.5, 0.25)


def test_patience_ends_the_fit_and_the_log_holds_every_validation(tmp_path):
    trainer = TrainerSettings(max_epochs=50, patience=2, accelerator="cpu")
    result = fit_encoder(
        lambda catalogue: MF(catalogue, dim=4, init_std=0.1),
        checkerboard(),
        FitSettings(lr=1e-12),
        trainer,
        seed=1,
        log_dir=tmp_path,
    )
    assert len(result.curve) == 3  # the first is the best, two do not gain
    with (tmp_path / "cf" / "metrics.csv").open() as file:
        logged = [float(record["valid_auc"]) for record in csv.DictReader(file) if record["valid_auc"]]
    assert_close(logged, [record["valid_auc"] for record in result.curve], SUM)
    json.dumps(result.curve, allow_nan=False)


@pytest.mark.parametrize(
    ("limits", "steps"),
    [
        ({"limit_train_batches": 3}, 6),
        ({"limit_train_batches": 0.5}, 4),
        ({"max_steps": 3}, 3),  # ends before the first validation: one is made at the end
        ({"check_val_every_n_epoch": 5}, 8),
        ({"val_check_interval": 0.5, "max_steps": 6}, 6),
    ],
)
def test_limits_of_the_trainer_hold(limits, steps):
    data = checkerboard(users=20, items=20)
    fit = FitSettings(batch_size=-(-len(data.rows("train")) // 4))  # four steps an epoch
    trainer = TrainerSettings(max_epochs=2, accelerator="cpu", **limits)
    result = fit_encoder(MF, data, fit, trainer, seed=1)
    assert result.curve[-1]["step"] == steps
    assert result.best in result.curve


def test_settings_are_read_without_torch():
    code = "import sys, recsys_lora.cf.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_rows_of_one_context_stay_neighbours():
    context = torch.tensor([0, 0, 1, 2, 2, 2, 3, 4, 4, 5])
    batches = IndexBatches(torch.arange(10), 10, seed=1, together=context)
    first, second = (context[next(iter(batches))] for _ in range(2))
    for order in (first, second):
        assert len(torch.unique_consecutive(order)) == 6
        assert sorted(order.tolist()) == context.tolist()
    assert first.tolist() != second.tolist()


def test_contexts_are_pairs_of_user_and_history():
    data = checkerboard(users=6, items=8)
    rows = data.rows("train")
    found = RowTensors(rows, data.history, 8)
    pairs = [(u, *h) for u, h in zip(found.user.tolist(), found.history.tolist(), strict=True)]
    for number in found.context.unique():
        members = (found.context == number).nonzero().squeeze(1).tolist()
        assert len({pairs[m] for m in members}) == 1
    assert len(found.context.unique()) == len(set(pairs))


def test_runs_of_equal_rows_are_found_and_undone():
    user = torch.tensor([1, 1, 1, 2, 2, 1])
    history = torch.tensor([[0, 3], [0, 3], [3, 4], [3, 4], [3, 4], [3, 4]])
    first, group = distinct(user, history)
    assert first.tolist() == [0, 2, 3, 5]
    assert torch.equal(user[first][group], user)
    assert torch.equal(history[first][group], history)
    assert distinct(user[:0], history[:0])[1].shape == (0,)


def test_validation_rows_without_a_user_of_both_classes_have_no_uauc(tmp_path):
    user, item = [1, 1, 1, 2, 2, 2], [1, 2, 1, 1, 2, 2]
    data = from_arrays(user, item, [1, 0, 1, 1, 0, 0], ["train", "train", "valid"] * 2)
    result = fit_encoder(MF, data, FitSettings(), TrainerSettings(max_epochs=1, accelerator="cpu"), seed=1)
    assert "valid_uauc" not in result.best
    save_encoder(tmp_path, result.encoder, {"best": result.best})
    assert read_description(tmp_path) == {"best": result.best}


def test_a_trainer_of_ones_own_validates_at_any_time_and_on_any_part():
    data = checkerboard()
    catalogue = Catalogue.from_prepared(data)
    rows = [RowTensors(data.rows(split), data.history, 0) for split in ("train", "valid")]
    encoder = MF(catalogue, dim=4)
    module = CFModule(encoder, catalogue, *rows, FitSettings(batch_size=8, scoring_rows=8), seed=0)
    untrained = factory.trainer().validate(module, verbose=False)[0]
    score = score_rows(encoder, data.rows("valid"), data.history)
    assert untrained["valid_auc"] == pytest.approx(auc(data.rows("valid").label, score), abs=1e-6)
    assert "train_loss" not in untrained
    module.curve.clear()
    trainer = factory.trainer(max_epochs=2, num_sanity_val_steps=1, limit_val_batches=2)
    trainer.fit(module)
    assert [record["epoch"] for record in module.curve] == [1, 2]
    assert all(record["train_loss"] > 0 for record in module.curve)
    part = data.rows("valid").take(torch.cat(list(module.val_dataloader())[:2]).numpy())
    score = score_rows(encoder, part, data.history)
    assert float(trainer.callback_metrics["valid_auc"]) == pytest.approx(auc(part.label, score), abs=1e-6)


def test_steps_leave_no_tensor_behind():
    """Small tensors that stay would lie between large ones that are freed: memory would grow by these."""

    class Alive(lightning.Callback):
        def __init__(self):
            self.counts = []

        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step in (5, 15):  # a count goes through all objects of the process
                self.counts.append(sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects()))

    data = checkerboard()
    catalogue, alive = Catalogue.from_prepared(data), Alive()
    encoder = MF(catalogue, dim=4)
    rows = [RowTensors(data.rows(split), data.history, 0) for split in ("train", "valid")]
    module = CFModule(encoder, catalogue, *rows, FitSettings(batch_size=8), seed=0)
    trainer = factory.trainer(max_epochs=1, limit_train_batches=15, limit_val_batches=0, callbacks=[alive])
    trainer.fit(module)
    early, late = alive.counts
    assert late <= early
