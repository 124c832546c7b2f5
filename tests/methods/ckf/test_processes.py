"""Training on two processes gives what one gives, also while one half of the objective rests."""

import pytest

from recsys_lora.methods.checkpoint import trained_state
from recsys_lora.methods.ckf.objective import Objective
from recsys_lora.methods.optimizer import OptimizerSettings
from tests import processes
from tests.methods import factory
from tests.methods.ckf import world as made


def trained(curriculum, **options):
    world = made.data()
    settings = OptimizerSettings(lr=1e-3, schedule="constant", warmup_steps=0, weight_decay=0.1)
    module = made.started(made.module(world, objective=Objective(curriculum=curriculum), optimizer=settings), std=0.05)
    questions = made.Questions(world, module.backbone.pad_id, batch_size=7)  # shares of 4 and 3
    trainer = factory.trainer(max_steps=12, max_epochs=-1, limit_val_batches=0, **options)
    trainer.fit(module, questions)
    return trained_state(module)


@pytest.mark.slow
@pytest.mark.parametrize("curriculum", ["sigmoid", "two_stage", "joint", "collaborative"])
def test_two_processes_train_what_one_trains(curriculum, tmp_path):
    processes.assert_two_train_as_one(trained, tmp_path / "together.pt", curriculum)
