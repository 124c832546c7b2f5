"""Encoders on a device that is not the CPU: they are fitted there, and stay where their owner has put them."""

import functools

import lightning
import numpy as np
import pytest
import torch

from recsys_lora.cf.fit import fit_encoder, score_rows
from recsys_lora.cf.inference import device_of
from recsys_lora.cf.module import RowTensors
from recsys_lora.cf.settings import FitSettings, TrainerSettings
from recsys_lora.methods.vectors import encode_rows
from tests.cf.made_data import checkerboard
from tests.second_device import NAME, DeviceMismatchError, second_device


@pytest.mark.parametrize("objective", ["bce", "bpr", "sampled_softmax"])
def test_a_fit_there_gives_what_it_gives_on_the_cpu(factory, objective, monkeypatch):
    data, fit, limits = checkerboard(), FitSettings(objective=objective, batch_size=256), {"max_epochs": 1}
    expected = fit_encoder(factory, data, fit, TrainerSettings(accelerator="cpu", **limits), seed=0)
    with second_device():
        monkeypatch.setattr(lightning, "Trainer", functools.partial(lightning.Trainer, strategy=NAME))
        found = fit_encoder(factory, data, fit, TrainerSettings(accelerator=NAME, **limits), seed=0)
    assert found.best == pytest.approx(expected.best, rel=1e-4)


def test_scoring_and_encoding_leave_the_encoder_where_it_is(factory):
    data = checkerboard()
    rows = data.rows("test")
    encoder = fit_encoder(factory, data, FitSettings(), TrainerSettings(max_epochs=1, accelerator="cpu"), 0).encoder
    expected = score_rows(encoder, rows, data.history), *encode_rows(encoder, data, rows)
    with second_device() as device:
        encoder.to(device)
        found = score_rows(encoder, rows, data.history), *encode_rows(encoder, data, rows)
        assert device_of(encoder) == device
    for there, here in zip(found, expected, strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-5, atol=1e-7)


def test_rows_of_the_cpu_are_refused_there(factory):
    data = checkerboard()
    rows = data.rows("test")
    encoder = fit_encoder(factory, data, FitSettings(), TrainerSettings(max_epochs=1, accelerator="cpu"), 0).encoder
    user, read, item, _ = RowTensors(rows, data.history, encoder.history_length).pick(torch.arange(len(rows)))
    with second_device() as device:
        encoder.to(device)
        with pytest.raises(DeviceMismatchError, match="expected all tensors on one device"):
            encoder.score(user, read, item)
