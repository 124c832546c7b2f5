import copy
import math
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from recsys_lora.methods.optimizer import OptimizerSettings, may_be_fused, planned_steps
from recsys_lora.utils.errors import UserError
from tests.methods.factory import trainer
from tests.rounding import SUM, assert_close


def rates(steps, **knobs):
    settings = OptimizerSettings(**knobs)
    return [settings.lr_factor(step, steps) for step in range(steps + 1)]


def test_warm_up_rises_to_the_full_rate_and_ends_with_a_tenth_of_the_steps():
    curve = rates(1000, warmup_steps=200)
    assert curve[0] == pytest.approx(0.01)
    assert curve[100] == 1.0 == max(curve)
    assert all(a < b for a, b in pairwise(curve[:101]))
    assert rates(10_000, warmup_steps=200).index(1.0) == 200


@pytest.mark.parametrize(
    ("knobs", "half", "end"),
    [
        ({"schedule": "linear"}, 0.5, 0.0),
        ({"schedule": "cosine", "final_lr_fraction": 0.08}, 0.54, 0.08),
        ({"schedule": "constant"}, 1.0, 1.0),
    ],
)
def test_the_rate_ends_with_the_budget(knobs, half, end):
    curve = rates(1000, warmup_steps=0, **knobs)
    assert curve[500] == pytest.approx(half)
    assert curve[1000] == pytest.approx(end)
    assert all(a >= b for a, b in pairwise(curve))


def test_a_budget_without_end_keeps_the_rate():
    settings = OptimizerSettings(warmup_steps=10)
    assert settings.lr_factor(5, math.inf) == pytest.approx(0.505)
    assert settings.lr_factor(10**6, math.inf) == 1.0


def test_only_matrices_decay_and_frozen_parameters_are_left_out():
    layer, frozen = nn.Linear(3, 2), nn.Linear(3, 2).requires_grad_(False)
    settings = OptimizerSettings(weight_decay=0.1, betas=(0.9, 0.9))
    optimizer = settings.optimizer(settings.groups([*layer.parameters(), *frozen.parameters()]))
    groups = [(group["weight_decay"], [tuple(p.shape) for p in group["params"]]) for group in optimizer.param_groups]
    assert groups == [(0.1, [(2, 3)]), (0.0, [(2,)])]
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.9)


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"max_epochs": 3}, 30),
        ({"max_epochs": 3, "max_steps": 7}, 7),
        ({"max_epochs": -1, "max_steps": 50}, 50),
        ({"max_epochs": 2, "limit_train_batches": 0.5}, 10),
        ({"max_epochs": 2, "limit_train_batches": 4}, 8),
        ({"max_epochs": 2, "accumulate_grad_batches": 3}, 8),
        ({"max_epochs": 5, "overfit_batches": 1}, 5),
        ({"max_epochs": -1}, math.inf),
    ],
    ids=str,
)
def test_planned_steps_are_those_that_the_trainers_limits_leave(options, steps):
    assert planned_steps(trainer(**options), 10) == steps


def test_validations_further_apart_than_an_epoch_are_refused_in_one_line():
    line = r"trainer.val_check_interval=66 counts batches of one epoch, which has 10: .*check_val_every_n_epoch=null"
    with pytest.raises(UserError, match=line):
        planned_steps(trainer(max_steps=50, val_check_interval=66), 10)
    assert planned_steps(trainer(max_steps=50, val_check_interval=66, check_val_every_n_epoch=None), 10) == 50


def stepped(fused, steps, start=None, seed=0):
    """Return weights and the optimiser's state after some steps, from the beginning or from another's end."""
    torch.manual_seed(seed)
    layer = nn.Linear(5, 4)
    settings = OptimizerSettings(lr=0.01, weight_decay=0.1)
    optimizer = settings.optimizer(settings.groups(layer.parameters()), fused)
    first = 0
    if start is not None:
        first = start[2]
        layer.load_state_dict(start[0])
        optimizer.load_state_dict(start[1])
    for step in range(first, first + steps):
        generator = torch.Generator().manual_seed(step)
        for parameter in layer.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()
    return copy.deepcopy(layer.state_dict()), copy.deepcopy(optimizer.state_dict()), first + steps


def test_the_fused_update_is_the_common_one_and_the_same_each_time():
    fused, again, single = (stepped(kind, 30)[0] for kind in (True, True, False))
    for name, value in fused.items():
        assert torch.equal(value, again[name])
        assert_close(value, single[name], SUM)


@pytest.mark.parametrize("before", [True, False])
def test_a_resumed_fused_update_goes_on_as_if_it_had_not_stopped(before):
    """A checkpoint of the update by single parameters, as earlier versions wrote, can be gone on from, too."""
    whole = stepped(before, 10)
    resumed = stepped(True, 4, stepped(before, 6))
    assert all(torch.equal(resumed[0][name], value) for name, value in whole[0].items())


def test_with_a_loss_scaler_it_is_not_fused():
    scaler = SimpleNamespace(precision_plugin=SimpleNamespace(scaler=object()))
    assert not may_be_fused(scaler)
    assert may_be_fused(trainer())


def test_a_horizon_stands_for_the_end_of_the_budget():
    knobs = {"schedule": "cosine", "warmup_steps": 0, "final_lr_fraction": 0.08}
    long = OptimizerSettings(**knobs, horizon_steps=10_000)
    assert [long.lr_factor(step, 100) for step in (0, 50, 99)] == [rates(10_000, **knobs)[s] for s in (0, 50, 99)]
    assert long.lr_factor(5_000, math.inf) == pytest.approx(0.54)
    short = OptimizerSettings(**knobs, horizon_steps=50)
    assert [short.lr_factor(step, 100) for step in (50, 99)] == pytest.approx([0.08, 0.08])


def test_warm_up_begins_where_it_is_told_and_takes_the_share_it_may():
    curve = rates(1000, warmup_steps=10**6, max_warmup_fraction=0.05, initial_lr_fraction=0.0)
    assert (curve[0], curve[25], curve[50]) == (0.0, pytest.approx(0.5), 1.0)
    assert rates(1000, warmup_steps=20, max_warmup_fraction=0.05).index(1.0) == 20


def test_the_group_whose_rate_is_shown_is_of_the_settings_own():
    fast, slow = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    settings = OptimizerSettings(lr=0.1)
    assert [group["lr"] for group in settings.groups([fast, slow], {fast: 20.0})] == [0.1, 2.0]
