"""A run that was stopped goes on as if it had not been: same batches, same schedule, same weights."""

import functools

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from recsys_lora.callbacks.checkpoint import BestLast
from recsys_lora.callbacks.ema import EMA
from recsys_lora.callbacks.random_state import RandomState
from recsys_lora.methods.checkpoint import trained_state
from tests.methods import factory
from tests.methods.synthetic import WORDS, prepared


class StoppedError(Exception):
    pass


class Watch(Callback):
    """Notes each step's rows and learning rate; stops the run where asked."""

    def __init__(self, stop_after=None):
        self.stop_after, self.steps = stop_after, []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.steps.append(
            (trainer.global_step, batch.versions["text"][0].row.tolist(), trainer.optimizers[0].param_groups[0]["lr"])
        )
        if trainer.global_step == self.stop_after:
            raise StoppedError


KNOBS = {
    "plain": {},
    "pairwise": {"pairwise": 0.5, "rows_per_user": 4},
    "tuned": {"tune_encoder": True},
    "ema": {},
    "statistics": {"user_statistics": True},
}
STOPS = {  # within an epoch, at its end, in the second, in the last; all of them once, two of them with each knob
    "plain": (5, 10, 14, 25),
    "pairwise": (10, 25),
    "tuned": (5, 14),
    "ema": (14, 25),
    "statistics": (5, 10),
}


def run(folder, more, stop_after=None, ckpt_path=None):
    torch.manual_seed(3 if ckpt_path is None else 99)
    data, encoder = prepared(users=20, items=20, rows_each=12, dim=4)
    knobs = {"dropout": 0.1, "generator": {"dropout": 0.1}, "batch_size": 16, "seed": 7 if ckpt_path is None else 8}
    module = factory.cora(data, encoder, **knobs, **KNOBS[more])
    ema = EMA(0.9 if more == "ema" else 0.0)
    datamodule = module.datamodule(data, WORDS, seed=4)
    watch = Watch(stop_after)
    trainer = factory.trainer(
        max_epochs=3,
        val_check_interval=0.4,
        enable_checkpointing=True,
        callbacks=[BestLast(folder, every_n_steps=3), ema, RandomState(), watch],
    )
    if stop_after is None:
        trainer.fit(module, datamodule, ckpt_path=ckpt_path)
    else:
        with pytest.raises(StoppedError):
            trainer.fit(module, datamodule, ckpt_path=ckpt_path)
    return module, watch.steps, ema.average


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What runs a knob's run to its end, once."""
    return functools.cache(lambda more: run(tmp_path_factory.mktemp("whole"), more))


@pytest.mark.parametrize(
    ("more", "stop_after"), [(more, stop_after) for more, stops in STOPS.items() for stop_after in stops]
)
def test_a_stopped_run_goes_on_exactly(whole, tmp_path, more, stop_after):
    module, steps, average = whole(more)
    _, begun, _ = run(tmp_path, more, stop_after=stop_after)
    resumed, rest, average_of_resumed = run(tmp_path, more, ckpt_path=tmp_path / "last.ckpt")
    assert begun == steps[: len(begun)]
    assert rest == steps[rest[0][0] - 1 :]
    assert 1 < rest[0][0] <= stop_after + 1
    for name, value in trained_state(module).items():
        assert torch.equal(value, trained_state(resumed)[name]), name
    assert (average is None) == (more != "ema")
    for name, value in (average or {}).items():
        assert torch.equal(value, average_of_resumed[name]), name
