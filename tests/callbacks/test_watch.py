"""Guard, measurements and progress, each on a tiny run."""

import contextlib
import csv
import io
import logging
import re
import sys

import numpy as np
import pytest
import torch

from recsys_lora.callbacks.guard import StopOnNaN, plain
from recsys_lora.callbacks.measure import Throughput, gradient_norm
from recsys_lora.callbacks.progress import FitProgress
from recsys_lora.utils.errors import UserError
from tests.callbacks.tiny import Batch, Loader, Tiny, trainer
from tests.rounding import SUM, assert_close


def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_batch(tmp_path):
    module = Tiny(nan_at=3)
    fit = trainer(tmp_path, [StopOnNaN(tmp_path)])
    with pytest.raises(UserError, match="the loss is nan at step 3") as error:
        fit.fit(module)
    path = tmp_path / "nan_batch_step3.pt"
    assert str(path) in str(error.value)
    saved = torch.load(path, weights_only=True)
    batches = list(Loader())
    assert torch.equal(saved["batch"]["x"], batches[3].x)
    assert torch.equal(saved["batch"]["y"], batches[3].y)
    assert saved["step"] == 3
    assert all(torch.isfinite(weight).all() for weight in module.parameters())


def test_a_gradient_that_is_not_a_number_stops_the_run_before_the_update(tmp_path):
    class Root(Tiny):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            if self.global_step == 2:  # a finite loss with an infinite slope
                return loss + torch.sqrt((self.net[0].weight * 0).sum())
            return loss

    module = Root()
    with pytest.raises(UserError, match="the gradient norm is nan at step 2"):
        trainer(tmp_path, [StopOnNaN(tmp_path)]).fit(module)
    assert all(torch.isfinite(weight).all() for weight in module.parameters())
    unguarded = Root()
    trainer(tmp_path, [StopOnNaN(tmp_path, gradients=False)], max_steps=3, limit_val_batches=0).fit(unguarded)
    assert not all(torch.isfinite(weight).all() for weight in unguarded.parameters())


class Fused(Tiny):
    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.lr, fused=True)


def weights(module):
    return [weight.detach().clone() for weight in module.parameters()]


def trained(folder, callbacks=(), nan_at=None, **options):
    torch.manual_seed(1)
    np.random.seed(1)
    module, error = Fused(nan_at=nan_at), None
    try:
        trainer(folder, callbacks, max_epochs=1, **options).fit(module)
    except UserError as raised:
        error = str(raised)
    return weights(module), error


@pytest.mark.parametrize("gradients", [True, False])
def test_what_is_looked_at_late_keeps_the_weights_of_before(tmp_path, gradients):
    guard = StopOnNaN(tmp_path, gradients, every_n_steps=4)
    found, error = trained(tmp_path / "a", [guard], nan_at=5)
    assert "the loss is nan at step 5" in error
    batch = torch.load(tmp_path / "nan_batch_step5.pt", weights_only=True)["batch"]
    assert torch.equal(batch["x"], list(Loader())[5].x)
    sound, nothing = trained(tmp_path / "b", [StopOnNaN(tmp_path, gradients, every_n_steps=4)], max_steps=5)
    assert nothing is None
    assert all(map(torch.equal, found, sound))


@pytest.mark.parametrize("options", [{"val_check_interval": 7}, {"max_steps": 7, "limit_val_batches": 0}])
def test_nothing_is_validated_or_kept_before_it_is_looked_at(tmp_path, options):
    _, error = trained(tmp_path, [StopOnNaN(tmp_path, every_n_steps=1000)], nan_at=5, **options)
    assert "the loss is nan at step 5" in error
    assert not list((tmp_path / "checkpoints").glob("*.ckpt"))


def test_a_sound_run_is_the_same_however_rarely_it_is_looked_at(tmp_path):
    runs = [trained(tmp_path / str(every), [StopOnNaN(tmp_path, every_n_steps=every)]) for every in (1, 3)]
    assert all(map(torch.equal, runs[0][0], runs[1][0]))
    assert all(map(torch.equal, runs[0][0], trained(tmp_path / "none")[0]))


def test_an_optimiser_that_cannot_leave_out_a_step_is_looked_at_every_time(tmp_path):
    module = Tiny(nan_at=3)
    with pytest.raises(UserError, match="the loss is nan at step 3"):
        trainer(tmp_path, [StopOnNaN(tmp_path, every_n_steps=5)]).fit(module)
    assert len(module.losses) == 4


def test_a_sound_run_is_left_alone(tmp_path):
    one, other = Tiny(), Tiny()
    torch.manual_seed(1)
    trainer(tmp_path / "a", [StopOnNaN(tmp_path)], max_epochs=1).fit(one)
    torch.manual_seed(1)
    trainer(tmp_path / "b", max_epochs=1).fit(other)
    assert len(one.losses) == 10
    assert [loss for _, loss in one.losses] != [0] * 10
    assert not list(tmp_path.glob("*.pt"))


def test_batches_of_any_kind_become_plain_values():
    batch = Batch(torch.zeros(2, 3), torch.ones(2, 3, requires_grad=True))
    assert plain(batch).keys() == {"x", "y"}
    assert plain({"a": (batch, None, 1)})["a"][1:] == [None, 1]
    file = io.BytesIO()
    torch.save(plain({"a": [batch], 3: object()}), file)
    file.seek(0)
    assert torch.load(file, weights_only=True)["a"][0]["y"].shape == (2, 3)


def test_gradient_norm_equals_torch_clipping():
    module = torch.nn.Linear(4, 3)
    assert gradient_norm(module) == 0
    module(torch.randn(2, 4)).square().sum().backward()
    expected = torch.nn.utils.clip_grad_norm_(module.parameters(), 1e9)
    assert_close(gradient_norm(module), expected, SUM)


def test_learning_rate_gradient_and_throughput_reach_the_table(tmp_path):
    trainer(tmp_path, [Throughput()], max_epochs=1, log_every_n_steps=2).fit(Tiny(lr=0.05))
    with (tmp_path / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["train/lr"]]
    assert [float(row["train/lr"]) for row in rows] == pytest.approx([0.05 / (1 + 0.1 * s) for s in (1, 3, 5, 7, 9)])
    assert all(float(row["train/grad_norm"]) > 0 for row in rows)
    assert all(1 < float(row["train/rows_per_second"]) < 1e6 for row in rows)


def test_throughput_counts_rows_and_leaves_validation_out(tmp_path, monkeypatch):
    from recsys_lora.callbacks import measure

    clock = [0.0]

    class Clocked(Tiny):
        def training_step(self, batch, batch_idx):
            clock[0] += 2.0
            return super().training_step(batch, batch_idx)

        def validation_step(self, batch, batch_idx):
            clock[0] += 100.0
            super().validation_step(batch, batch_idx)

    monkeypatch.setattr(measure.time, "perf_counter", lambda: clock[0])
    trainer(tmp_path, [Throughput()], max_epochs=1, val_check_interval=2, log_every_n_steps=5).fit(Clocked())
    with (tmp_path / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["train/rows_per_second"]]
    assert [float(row["train/rows_per_second"]) for row in rows] == [4.0, 4.0]  # 8 rows in 2 seconds
    assert [float(row["train/tokens_per_second"]) for row in rows] == [24.0, 24.0]  # of 6 tokens each


def test_progress_tells_steps_loss_rate_and_validation(tmp_path, monkeypatch):
    from recsys_lora.utils import console

    monkeypatch.setattr(console, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr("recsys_lora.callbacks.progress.SECONDS_BETWEEN_NOTES", 0.0)
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    trainer(tmp_path, [FitProgress()], max_epochs=2, val_check_interval=5).fit(Tiny())
    text = out.getvalue()
    assert "training: 7/20 steps" in text
    assert "training: 20/20 steps" in text
    for part in ("loss 0.", "lr 0.0", "valid/auc 0.", "validating 1/1", "/s", "left"):
        assert part in text


def test_the_loss_in_the_log_is_that_of_its_step(tmp_path, caplog):
    module = Tiny()
    with caplog.at_level(logging.INFO):
        trainer(tmp_path, [FitProgress()], max_epochs=2, val_check_interval=5).fit(module)
    logged = re.findall(r"step (\d+): valid/auc \S+, loss (\S+)", caplog.text)
    assert [int(step) for step, _ in logged] == [5, 10, 15, 20]
    assert [loss for _, loss in logged] == [f"{module.losses[int(step) - 1][1]:.4f}" for step, _ in logged]


def test_progress_counts_what_is_left_after_a_resume_and_closes_on_errors(tmp_path, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    trainer(tmp_path, val_check_interval=5, max_steps=5).fit(Tiny())
    last = tmp_path / "checkpoints/last.ckpt"
    trainer(tmp_path, [FitProgress()], val_check_interval=5).fit(Tiny(), ckpt_path=last, weights_only=True)
    assert "training from step 5: 25/25 steps" in out.getvalue()
    watcher = FitProgress()
    with contextlib.suppress(UserError):
        trainer(tmp_path, [watcher, StopOnNaN(tmp_path)]).fit(Tiny(nan_at=2))
    assert out.getvalue().count("training: 2/30 steps") == 1
    assert watcher._advance is None
