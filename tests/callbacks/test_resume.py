"""A run that was killed and goes on equals the uninterrupted one, bit for bit: weights, losses, validations, best."""

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, seed_everything

from recsys_lora.callbacks import checkpoint
from recsys_lora.processes.signals import Stopped
from recsys_lora.utils.errors import UserError
from tests.callbacks.tiny import Tiny, trainer


class Killed(BaseException):
    pass


class Kill(Callback):
    """Dies at the start of the batch after `step` optimiser steps, as if by a signal."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            raise Killed


class Asked(Callback):
    """Sees SLURM ask for the place while the optimiser step `step` is made."""

    def __init__(self, step):
        self.step, self.now = step, False

    def on_before_zero_grad(self, trainer, pl_module, optimizer):
        self.now = trainer.global_step == self.step - 1


class KillInValidation(Callback):
    def __init__(self, step):
        self.step = step

    def on_validation_start(self, trainer, pl_module):
        if trainer.global_step == self.step:
            raise Killed


def table(folder):
    return (folder / "metrics.csv").read_text()


def run(folder, resume=None, more=(), **options):
    seed_everything(0 if resume is None else 999)  # a resumed run must not depend on how it was seeded
    module = Tiny(batches=options.pop("batches", 10))
    fit = trainer(folder, more, **options)
    fit.fit(module, ckpt_path=resume, weights_only=True if resume else None)
    return module, fit


def assert_same(full, resumed, start):
    module, fit = full
    for name, weight in module.state_dict().items():
        assert torch.equal(weight, resumed[0].state_dict()[name]), name
    assert resumed[0].losses == [pair for pair in module.losses if pair[0] >= start]
    assert resumed[0].seen == [pair for pair in module.seen if pair[0] > start]
    for attribute in ("best_score", "best_step", "saved_step"):
        assert getattr(fit.checkpoint_callback, attribute) == getattr(resumed[1].checkpoint_callback, attribute)
    assert fit.early_stopping_callback.wait_count == resumed[1].early_stopping_callback.wait_count
    assert fit.global_step == resumed[1].global_step
    one, other = (torch.load(f.checkpoint_callback.best_model_path, weights_only=True) for f in (fit, resumed[1]))
    assert one["global_step"] == other["global_step"]
    assert all(torch.equal(one["state_dict"][k], other["state_dict"][k]) for k in one["state_dict"])


EACH_FOUR = {"val_check_interval": 4, "check_val_every_n_epoch": None}


@pytest.mark.parametrize(
    ("options", "killed_at", "saved_at"),
    [
        ({"val_check_interval": 5}, 8, 5),  # inside an epoch
        ({"val_check_interval": 5}, 11, 10),  # the last checkpoint is of the end of an epoch
        ({"val_check_interval": 1.0}, 25, 20),  # validation only at the ends of epochs
        ({"val_check_interval": 4}, 19, 18),  # the second validation of the second epoch
        (EACH_FOUR, 15, 12),  # validation by steps, across epochs
        (EACH_FOUR | {"max_steps": 26, "max_epochs": -1}, 23, 20),  # the length is given in steps
        (EACH_FOUR | {"max_steps": 26, "max_epochs": -1}, 21, 20),
        ({"val_check_interval": 5, "every_n_steps": 3}, 8, 6),  # a checkpoint between validations
        ({"val_check_interval": 5, "every_n_steps": 1}, 5, 5),  # due on the batch before a validation: it waits for it
        ({"val_check_interval": 5, "accumulate_grad_batches": 2}, 14, 13),  # validation in the middle of a step
    ],
)
def test_resume_equals_the_uninterrupted_run(tmp_path, options, killed_at, saved_at):
    full = run(tmp_path / "full", **options)
    with pytest.raises(Killed):
        run(tmp_path / "cut", more=[Kill(killed_at)], **options)
    last = tmp_path / "cut" / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == saved_at
    resumed = run(tmp_path / "cut", resume=last, **options)
    assert_same(full, resumed, saved_at)
    assert table(tmp_path / "full") == table(tmp_path / "cut")
    assert sorted(p.name for p in last.parent.iterdir()) == ["best.ckpt", "last.ckpt"]


def test_killed_in_a_validation_repeats_it(tmp_path):
    options = {"val_check_interval": 5}
    full = run(tmp_path / "full", **options)
    with pytest.raises(Killed):
        run(tmp_path / "cut", more=[KillInValidation(15)], **options)
    resumed = run(tmp_path / "cut", resume=tmp_path / "cut/checkpoints/last.ckpt", **options)
    assert_same(full, resumed, 10)


def test_asked_for_its_place_between_validations_it_leaves_with_that_step_s_row(tmp_path, monkeypatch):
    options = {"val_check_interval": 5}
    full = run(tmp_path / "full", **options)
    asked = Asked(8)
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "requeues", lambda: True)
        patched.setattr(checkpoint, "requeue_asked", lambda: asked.now)
        with pytest.raises(Stopped):
            run(tmp_path / "cut", more=[asked], **options)
    assert table(tmp_path / "cut") == "".join(table(tmp_path / "full").splitlines(keepends=True)[: 1 + 8])
    resumed = run(tmp_path / "cut", resume=tmp_path / "cut/checkpoints/last.ckpt", **options)
    assert_same(full, resumed, 8)
    assert table(tmp_path / "cut") == table(tmp_path / "full")


def test_checkpoints_between_validations_leave_the_table_as_it_is(tmp_path):
    run(tmp_path / "often", val_check_interval=5, every_n_steps=2)
    run(tmp_path / "seldom", val_check_interval=5)
    assert table(tmp_path / "often") == table(tmp_path / "seldom")


def test_early_stopping_counts_on_and_a_stopped_run_stays_stopped(tmp_path):
    options = {"val_check_interval": 2, "patience": 3, "max_epochs": 30}
    full = run(tmp_path / "full", **options)
    assert full[1].global_step < 300
    last_three = [value for _, value in full[0].seen[-3:]]
    assert max(last_three) <= full[1].checkpoint_callback.best_score
    killed_at = full[1].global_step - 1
    with pytest.raises(Killed):
        run(tmp_path / "cut", more=[Kill(killed_at)], **options)
    last = tmp_path / "cut/checkpoints/last.ckpt"
    assert_same(full, run(tmp_path / "cut", resume=last, **options), killed_at - 1)
    again = run(tmp_path / "cut", resume=last, **options)
    assert again[0].losses == []
    assert again[1].global_step == full[1].global_step
    longer = run(tmp_path / "longer", resume=last, **options | {"patience": 5})
    assert longer[1].global_step > full[1].global_step


def test_the_best_checkpoint_comes_along_into_a_new_folder(tmp_path):
    options = {"val_check_interval": 5}
    with pytest.raises(Killed):
        run(tmp_path / "cut", more=[Kill(12)], **options)
    first = torch.load(tmp_path / "cut/checkpoints/best.ckpt", weights_only=True)
    with pytest.raises(Killed):
        run(tmp_path / "new", resume=tmp_path / "cut/checkpoints/last.ckpt", more=[Kill(12)], **options)
    again = torch.load(tmp_path / "new/checkpoints/best.ckpt", weights_only=True)
    assert first["global_step"] == again["global_step"]
    (tmp_path / "cut/checkpoints/best.ckpt").unlink()
    with pytest.raises(UserError, match=r"best\.ckpt: not there"):
        run(tmp_path / "third", resume=tmp_path / "cut/checkpoints/last.ckpt", **options)


def test_without_the_random_state_a_resume_is_not_exact(tmp_path):
    # What the tests above would look like if nothing were restored: they can fail.
    full = run(tmp_path / "full", val_check_interval=5)
    with pytest.raises(Killed):
        run(tmp_path / "cut", more=[Kill(8)], val_check_interval=5)
    last = tmp_path / "cut/checkpoints/last.ckpt"
    state = torch.load(last, weights_only=True)
    state["random_state"] = []
    torch.save(state, last)
    with pytest.warns(UserWarning, match="no state of the random number generators"):
        resumed = run(tmp_path / "cut", resume=last, val_check_interval=5)
    assert resumed[0].losses != [pair for pair in full[0].losses if pair[0] >= 5]


def test_random_state_covers_python_numpy_and_torch():
    import random

    from recsys_lora.callbacks.random_state import restore, snapshot

    np.random.randn()  # leaves a cached gaussian behind
    state = snapshot(torch.device("cpu"))
    first = random.random(), np.random.randn(), torch.randn(2).tolist()
    restore(state, torch.device("cpu"))
    assert (random.random(), np.random.randn(), torch.randn(2).tolist()) == first
