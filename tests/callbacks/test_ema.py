"""The average of trained weights: its values, what is validated with it, and what checkpoints hold."""

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from recsys_lora.callbacks.checkpoint import BEST, LAST, BestLast
from recsys_lora.callbacks.ema import EMA
from recsys_lora.methods.checkpoint import load_checkpoint, trained_state
from tests import jobs
from tests.methods import factory
from tests.methods.asking import score_rows
from tests.methods.synthetic import WORDS, prepared
from tests.rounding import SUM, assert_close

DECAY = 0.8


class Watch(Callback):
    """Notes the trained weights: at the start, after each step, and while validating."""

    def __init__(self):
        self.steps, self.validated = [], []

    def on_train_start(self, trainer, pl_module):
        self.steps = [weights(pl_module)]

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == len(self.steps):
            self.steps.append(weights(pl_module))

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        if batch_idx == 0:
            self.validated.append((trainer.global_step, weights(pl_module)))


def weights(module):
    return {name: p.detach().clone() for name, p in module.named_parameters() if p.requires_grad}


def averages(steps, decay):
    """Return the average after each step, written plainly."""
    found = [dict(steps[0])]
    for n, step in enumerate(steps[1:], start=1):
        d = min(decay, (1 + n) / (10 + n))
        found.append({name: d * found[-1][name] + (1 - d) * value for name, value in step.items()})
    return found


def fit(folder, decay=DECAY, **options):
    data, encoder = prepared(users=20, items=20, rows_each=12, dim=4)
    module = factory.cora(data, encoder, batch_size=16, lr=1e-2, offset="cf")
    datamodule = module.datamodule(data, WORDS, seed=4)
    watch, ema, kept = Watch(), EMA(decay), BestLast(folder)
    callbacks = [kept, ema, watch] if decay is not None else [kept, watch]
    settings = {"max_epochs": 2, "val_check_interval": 0.5, **options}
    factory.trainer(enable_checkpointing=True, callbacks=callbacks, **settings).fit(module, datamodule)
    return module, datamodule, watch, ema


@pytest.mark.parametrize("accumulated", [1, 2])
def test_it_is_the_plain_recursion_and_validation_reads_it(tmp_path, accumulated):
    module, _, watch, ema = fit(tmp_path, accumulate_grad_batches=accumulated)
    expected = averages(watch.steps, DECAY)
    assert ema.updates == len(expected) - 1 == 20 // accumulated
    for name, value in expected[-1].items():
        assert_close(ema.average[name], value, SUM)
        assert torch.equal(weights(module)[name], watch.steps[-1][name])  # training goes on with its own
    assert len(watch.validated) == 4
    for step, found in watch.validated:
        for name, value in expected[step].items():
            assert_close(found[name], value, SUM)


def test_checkpoints_hold_the_average_and_what_training_goes_on_with(tmp_path):
    module, datamodule, watch, ema = fit(tmp_path)
    expected = averages(watch.steps, DECAY)
    last, best = (torch.load(tmp_path / name, weights_only=True) for name in (LAST, BEST))
    assert last["state_dict"].keys() == trained_state(module).keys()
    for name in watch.steps[0]:
        assert_close(last["state_dict"][name], expected[-1][name], SUM)
        assert_close(best["state_dict"][name], expected[best["global_step"]][name], SUM)
        assert torch.equal(last["resumed_weights"][name], watch.steps[-1][name])
    rows = datamodule.data.rows("test")
    own = score_rows(module, datamodule, rows)
    load_checkpoint(tmp_path / LAST, module, module.identity)
    assert not np.allclose(score_rows(module, datamodule, rows), own)
    for name, value in weights(module).items():
        assert torch.equal(value, ema.average[name])


def test_without_decay_nothing_changes(tmp_path):
    (without, _, seen, _), (off, _, watch, ema) = (fit(tmp_path / str(decay), decay) for decay in (None, 0.0))
    assert ema.average is None
    assert ema.state_dict() == {}
    for name, value in weights(without).items():
        assert torch.equal(value, weights(off)[name])
    assert len(seen.validated) == len(watch.validated)
    one, other = (torch.load(tmp_path / name / LAST, weights_only=True) for name in ("None", "0.0"))
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other["state_dict"][name]) for name, value in one["state_dict"].items())


def test_a_validation_before_the_first_step_is_of_the_start(tmp_path):
    _, _, watch, _ = fit(tmp_path, num_sanity_val_steps=-1, max_epochs=1)
    step, first = watch.validated[0]
    assert step == 0
    assert all(torch.equal(value, watch.steps[0][name]) for name, value in first.items())


def test_a_job_tests_the_average(tmp_path, home):
    tables = jobs.write_tables(tmp_path / "tables", *jobs.own_tables())
    line = (*jobs.SMALL, "cf=mf", *tables, "evaluation.zero_shot=false")
    outcome = jobs.run(tmp_path / "run", *line, "callbacks.ema.decay=0.9")
    kept = torch.load(tmp_path / "run" / "checkpoints" / BEST, weights_only=True)
    found = weights(outcome.method.module)
    assert all(torch.equal(value.cpu(), kept["state_dict"][name]) for name, value in found.items())
    assert not all(torch.equal(value.cpu(), kept["resumed_weights"][name]) for name, value in found.items())
    assert jobs.run(tmp_path / "plain", *line).method.key != outcome.method.key
