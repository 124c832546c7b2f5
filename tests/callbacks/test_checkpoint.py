import errno

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from recsys_lora.callbacks.checkpoint import BEST, LAST
from recsys_lora.utils.errors import UserError
from tests.callbacks.tiny import Tiny, trainer


class Scripted(Tiny):
    """Reports the validation metric that it is told to report."""

    def __init__(self, values, **options):
        super().__init__(**options)
        self.values = list(values)

    def on_validation_epoch_end(self):
        self.auc.reset()
        self.log("valid/auc", self.values.pop(0))


def test_the_best_is_the_first_of_the_highest_and_the_last_is_the_last(tmp_path):
    fit = trainer(tmp_path, val_check_interval=5, max_epochs=2)
    fit.fit(Scripted([0.5, 0.75, 0.75, 0.25]))
    best, last = (torch.load(tmp_path / "checkpoints" / f, weights_only=True) for f in ("best.ckpt", "last.ckpt"))
    assert (best["global_step"], last["global_step"]) == (10, 20)
    keeper = fit.checkpoint_callback
    assert (keeper.best_score, keeper.best_step) == (0.75, 10)
    assert keeper.best_model_path == str(tmp_path / "checkpoints" / "best.ckpt")
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2


def test_lower_can_be_better(tmp_path):
    fit = trainer(tmp_path, val_check_interval=5, max_epochs=2)
    fit.checkpoint_callback.mode = "min"
    fit.fit(Scripted([0.5, 0.75, 0.25, 0.25]))
    assert fit.checkpoint_callback.best_step == 15


def test_what_is_trained_after_the_last_validation_is_kept(tmp_path):
    fit = trainer(tmp_path, val_check_interval=5, max_steps=8)
    fit.fit(Tiny())
    assert torch.load(fit.checkpoint_callback.last_model_path, weights_only=True)["global_step"] == 8
    assert torch.load(fit.checkpoint_callback.best_model_path, weights_only=True)["global_step"] == 5


def test_without_validation_the_last_is_the_best_there_is(tmp_path):
    fit = trainer(tmp_path, limit_val_batches=0, max_epochs=1, val_check_interval=1.0)
    assert fit.checkpoint_callback.best_model_path == ""
    fit.fit(Tiny())
    assert fit.checkpoint_callback.best_model_path == fit.checkpoint_callback.last_model_path
    assert (tmp_path / "checkpoints" / "last.ckpt").exists()


def test_only_what_the_module_calls_its_state_is_written(tmp_path):
    class Adapter(Tiny):
        strict_loading = False

        def __init__(self):
            super().__init__()
            self.backbone = torch.nn.Linear(1000, 1000).requires_grad_(False)

        def on_save_checkpoint(self, checkpoint):
            state = checkpoint["state_dict"]
            checkpoint["state_dict"] = {k: v for k, v in state.items() if not k.startswith("backbone")}

    fit = trainer(tmp_path, val_check_interval=5, max_epochs=1)
    fit.fit(Adapter())
    sizes = {p.name: p.stat().st_size for p in (tmp_path / "checkpoints").iterdir()}
    assert sizes.keys() == {"best.ckpt", "last.ckpt"}
    assert max(sizes.values()) < 100_000


@pytest.mark.parametrize(
    ("module", "error", "message"),
    [
        (Scripted([float("nan")] * 9), UserError, r"valid/auc is not a number at step 5: .* data\.valid_rows"),
        (None, UserError, r"callbacks\.(stop_early|checkpoint)\.monitor=valid/auc: no such metric: .*train/loss"),
    ],
)
def test_a_metric_that_decides_nothing_is_an_error(tmp_path, module, error, message):
    class Silent(Tiny):
        def on_validation_epoch_end(self):
            self.auc.reset()

    fit = trainer(tmp_path, val_check_interval=5)
    fit.early_stopping_callback.strict = fit.early_stopping_callback.check_finite = False
    with pytest.raises(error, match=message):
        fit.fit(module or Silent())
    assert not (tmp_path / "checkpoints").exists()


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path, monkeypatch):
    fit = trainer(tmp_path, val_check_interval=5)
    real, calls = fit.save_checkpoint, []

    def full(path, **options):
        calls.append(path)
        if len(calls) == 2:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, **options)

    monkeypatch.setattr(fit, "save_checkpoint", full)
    with pytest.raises(UserError, match="the disk is full"):
        fit.fit(Tiny())
    assert torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 5
    assert not list((tmp_path / "checkpoints").glob(".*"))


@pytest.mark.parametrize(("lr", "stays"), [(0.0, True), (0.05, False)])
def test_the_start_is_the_best_where_nothing_is_better(tmp_path, lr, stays):
    module = Tiny(lr=lr)
    start = {name: value.clone() for name, value in module.state_dict().items()}
    made = trainer(tmp_path, num_sanity_val_steps=-1)
    made.fit(module)
    assert [step for step, _ in module.seen][:2] == [0, 4]
    best = made.checkpoint_callback
    assert best.best_step == next(step for step, score in module.seen if score == max(s for _, s in module.seen))
    assert (best.best_step == 0) is stays
    kept = torch.load(tmp_path / "checkpoints" / BEST, weights_only=True)["state_dict"]
    assert all(torch.equal(kept[name], start[name]) for name in start) is stays


def test_a_look_at_some_batches_before_the_first_step_decides_nothing(tmp_path):
    made = trainer(tmp_path, num_sanity_val_steps=1)
    made.fit(Tiny(lr=0.0))
    assert made.checkpoint_callback.best_step == 4


def test_a_run_stopped_before_its_first_step_starts_anew(tmp_path):
    class Stops(Callback):
        def on_train_start(self, trainer, pl_module):
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        trainer(tmp_path, more=[Stops()], num_sanity_val_steps=-1).fit(Tiny())
    assert not (tmp_path / "checkpoints" / LAST).exists()
    again = trainer(tmp_path, num_sanity_val_steps=-1)
    again.fit(Tiny())
    whole = trainer(tmp_path / "whole", num_sanity_val_steps=-1)
    whole.fit(Tiny())
    assert (again.checkpoint_callback.best_score, again.checkpoint_callback.best_step) == (
        whole.checkpoint_callback.best_score,
        whole.checkpoint_callback.best_step,
    )
