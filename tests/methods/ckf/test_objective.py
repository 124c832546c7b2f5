"""The curriculum's values."""

import math

import pytest

from recsys_lora.methods.ckf.objective import Objective, Shares


def test_lambda_falls_from_one_to_zero_and_is_a_half_in_the_middle():
    objective = Objective()
    assert objective.weight(0.0) == pytest.approx(0.99966465, abs=1e-8)
    assert objective.weight(0.5) == 0.5
    assert objective.weight(1.0) == pytest.approx(0.00033535, abs=1e-8)
    assert objective.weight(0.75) == pytest.approx(1 / (1 + math.exp(8 * 0.5)))


def test_the_sigmoid_s_shares_are_lambda_and_the_rest():
    objective = Objective(skip_below=0.0)
    for progress in (0.0, 0.1, 0.5, 0.9, 1.0):
        weight = objective.weight(progress)
        assert objective.shares(progress) == Shares(weight, 1 - weight)


def test_a_half_below_the_threshold_rests():
    objective = Objective(skip_below=0.01)
    assert objective.shares(0.0) == Shares(objective.weight(0.0), 0.0)
    assert objective.shares(1.0) == Shares(0.0, 1 - objective.weight(1.0))
    computed = [objective.shares(step / 100) for step in range(100)]
    assert [share.mapping > 0 for share in computed].index(True) == 22
    assert [share.lowrank > 0 for share in computed].index(False) == 79
    assert objective.shares(0.5) == Shares(0.5, 0.5)


def test_two_stages_train_text_first_and_the_mapping_after():
    objective = Objective(curriculum="two_stage", middle=0.4)
    assert [objective.shares(p) for p in (0.0, 0.39, 0.4, 1.0)] == [
        Shares(1, 0),
        Shares(1, 0),
        Shares(0, 1),
        Shares(0, 1),
    ]


def test_joint_trains_both_at_all_times():
    objective = Objective(curriculum="joint", mapping_lr=3.0)
    assert {objective.shares(p) for p in (0.0, 0.5, 1.0)} == {Shares(1.0, 3.0)}
    assert not objective.separate


def test_without_the_text_half_both_groups_train_on_the_other():
    objective = Objective(curriculum="collaborative", mapping_lr=3.0)
    for progress in (0.0, 0.5, 1.0):
        assert objective.shares(progress) == Shares(1.0, 3.0)
        assert objective.computed(progress) == {"text": False, "collaborative": True}
        assert objective.weight(progress) == 0
    assert not objective.separate


@pytest.mark.parametrize(
    ("curriculum", "computed"),
    [
        ("sigmoid", [(True, False), (True, True), (False, True)]),
        ("two_stage", [(True, False), (False, True), (False, True)]),
    ],
)
def test_a_half_that_trains_nothing_is_not_computed(curriculum, computed):
    objective = Objective(curriculum=curriculum)
    assert [tuple(objective.computed(p).values()) for p in (0.0, 0.5, 1.0)] == computed


def test_a_steep_curriculum_does_not_overflow():
    objective = Objective(steepness=1e6)
    assert objective.shares(0.0) == Shares(1.0, 0.0)
    assert objective.shares(1.0) == Shares(0.0, 1.0)


def test_weighted_scales_the_losses_and_no_learning_rate():
    objective = Objective(curriculum="weighted", mapping_lr=3.0)
    for progress in (0.0, 0.5, 1.0):
        weight = objective.weight(progress)
        assert objective.loss_weights(progress) == {"text": weight, "collaborative": 1 - weight}
        assert objective.shares(progress) == Shares(1.0, 3.0)
        assert objective.computed(progress) == {"text": True, "collaborative": True}
    assert objective.weight(0.5) == 0.5
    assert objective.separate


@pytest.mark.parametrize("curriculum", ["sigmoid", "two_stage", "joint", "collaborative"])
def test_the_others_scale_no_loss(curriculum):
    assert Objective(curriculum=curriculum).loss_weights(0.3) == {"text": 1.0, "collaborative": 1.0}
