"""Training: the curriculum takes effect under AdamW, runs resume exactly, and there is something to learn."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from recsys_lora.callbacks.checkpoint import BestLast
from recsys_lora.callbacks.random_state import RandomState
from recsys_lora.methods.checkpoint import load_checkpoint, trained_state
from recsys_lora.methods.ckf.objective import Objective
from recsys_lora.methods.optimizer import OptimizerSettings
from recsys_lora.utils.errors import UserError
from tests.methods import factory
from tests.methods.ckf import world as made
from tests.rounding import TRAINING, assert_close


class StoppedError(Exception):
    pass


class Watch(Callback):
    """Notes how far each group moves a step, and what is logged; stops the run where asked."""

    def __init__(self, stop_after=None):
        self.stop_after, self.moves, self.logged, self.rows = stop_after, [], [], []
        self.former = None

    def _state(self, module):
        groups = (module.lowrank, module.mapping)
        return [torch.cat([p.detach().flatten() for p in group.parameters()]) for group in groups]

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.former = self._state(pl_module)
        self.rows.append((trainer.global_step, [part.row.tolist() for part in batch.versions["text"]]))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        now = self._state(pl_module)
        self.moves.append([float((a - b).square().mean().sqrt()) for a, b in zip(now, self.former, strict=True)])
        self.logged.append({k: float(v) for k, v in trainer.callback_metrics.items()})
        if trainer.global_step == self.stop_after:
            raise StoppedError


def fit(module, world, *, rows=48, callbacks=(), **options):
    watch = Watch()
    questions = made.Questions(world, module.backbone.pad_id, rows=rows)
    trainer = factory.trainer(callbacks=[watch, *callbacks], limit_val_batches=0, **{"log_every_n_steps": 1, **options})
    trainer.fit(module, questions)
    return watch


@pytest.fixture(scope="module")
def world():
    return made.data()


def steady(**knobs):
    """AdamW without warm-up and decay, so that only the curriculum changes the learning rate."""
    return OptimizerSettings(lr=1e-4, schedule="constant", warmup_steps=0, weight_decay=0.0, **knobs)


def test_the_ratio_of_the_two_groups_updates_follows_lambda(world):
    objective = Objective(skip_below=0.0, mapping_lr=2.0)
    module = made.started(made.module(world, objective=objective, optimizer=steady()))
    steps = 40
    watch = fit(module, world, max_steps=steps, max_epochs=-1)
    moves = np.array(watch.moves)  # (steps, 2) root mean squares
    weight = np.array([objective.weight(step / steps) for step in range(steps)])
    expected = weight / (1 - weight) / 2.0
    ratio = moves[:, 0] / moves[:, 1]
    assert expected.max() / expected.min() > 1e6
    np.testing.assert_allclose(np.log(ratio), np.log(expected), atol=math.log(3))
    assert np.corrcoef(np.log(ratio), np.log(expected))[0, 1] > 0.995
    lambdas = [entry["train/lambda"] for entry in watch.logged]
    np.testing.assert_allclose(lambdas, weight, rtol=1e-6)  # logged in float32


def test_with_sign_updates_every_parameter_moves_by_its_share_of_the_learning_rate(world):
    """With both betas 0, AdamW moves a parameter by its whole learning rate, however small the gradient."""
    module = made.started(made.module(world, optimizer=steady(betas=(0.0, 0.0), eps=1e-20)))
    for step, moves in enumerate(fit(module, world, max_steps=10, max_epochs=-1).moves):
        for move, share in zip(moves, Objective().shares(step / 10), strict=True):
            # Less where a batch of 8 gives some parameters no gradient: the default of users without history.
            assert 0.8 * share <= move / 1e-4 <= 1.01 * share


@pytest.mark.parametrize("curriculum", ["sigmoid", "two_stage"])
def test_a_resting_group_does_not_move_at_all(world, curriculum):
    objective = Objective(curriculum=curriculum)
    settings = OptimizerSettings(lr=1e-3, schedule="constant", warmup_steps=0, weight_decay=0.1)
    module = made.started(made.module(world, objective=objective, optimizer=settings))
    watch = fit(module, world, max_steps=20, max_epochs=-1)
    for step, (moves, logged) in enumerate(zip(watch.moves, watch.logged, strict=True)):
        shares = objective.shares(step / 20)
        assert [move > 0 for move in moves] == [share > 0 for share in shares]
        assert (logged["train/grad_norm_lowrank"] > 0) == (shares.lowrank > 0)
        assert (logged["train/grad_norm_mapping"] > 0) == (shares.mapping > 0)


def test_joint_moves_both_at_the_full_rate(world):
    module = made.started(made.module(world, objective=Objective(curriculum="joint"), optimizer=steady()))
    moves = np.array(fit(module, world, max_steps=10, max_epochs=-1).moves)
    assert ((moves > 0.2e-4) & (moves < 1.5e-4)).all()


def test_losses_of_each_task_and_version_are_logged(world):
    module = made.module(world)
    logged = fit(module, world, max_steps=10, max_epochs=-1, callbacks=()).logged[5]
    for name in ("liked", "rating", "title"):
        for version in ("text", "collaborative"):
            assert logged[f"train/loss_{name}_{version}"] > 0


@pytest.mark.parametrize("curriculum", ["sigmoid", "joint"])
def test_groups_of_like_lengths_train_as_the_whole_batch_does(world, curriculum):
    ends, logged = [], []
    for cost in (None, 5.0):
        module = made.started(made.module(world, objective=Objective(curriculum=curriculum), optimizer=steady()))
        questions = made.Questions(world, module.backbone.pad_id)
        questions.train = replace(questions.train, forward_overhead_tokens=cost)
        watch = Watch()
        factory.trainer(max_steps=6, max_epochs=-1, callbacks=[watch]).fit(module, questions)
        ends.append(trained_state(module))
        logged.append(watch.logged)
    for name, value in ends[0].items():
        assert_close(ends[1][name], value, TRAINING, what=name)
    for one, other in zip(*logged, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert_close(other[name], one[name], TRAINING, what=name)


def test_the_text_half_can_be_left_out(world):
    module = made.module(world, objective=Objective(curriculum="collaborative"), optimizer=steady())
    watch = fit(module, world, max_steps=4, max_epochs=-1)
    assert all(lowrank > 0 and mapping > 0 for lowrank, mapping in watch.moves)
    losses = {name for logged in watch.logged for name in logged if name.startswith("train/loss_")}
    assert losses
    assert all(name.endswith("_collaborative") for name in losses)


def test_validation_is_the_mean_of_the_tasks_mean_losses(world):
    module = made.started(made.module(world)).eval()
    questions = made.Questions(world, module.backbone.pad_id)
    trainer = factory.trainer()
    [logged] = trainer.validate(module, questions, verbose=False)
    prompts = questions.train.versions["collaborative"]
    rows = module.loss(made.batch(prompts))
    means = [rows[prompts.task == task].mean().item() for task in range(3)]
    assert_close(logged["valid/loss"], np.mean(means))
    for name, mean in zip(("liked", "rating", "title"), means, strict=True):
        assert_close(logged[f"valid/loss_{name}"], mean)


def test_a_curriculum_needs_an_end(world):
    with pytest.raises(UserError, match="curriculum=joint"):
        fit(made.module(world), world, max_steps=-1, max_epochs=-1)
    fit(made.module(world, objective=Objective(curriculum="joint")), world, max_epochs=1)


def run(folder, stop_after=None, ckpt_path=None):
    torch.manual_seed(3 if ckpt_path is None else 99)
    world = made.data()
    module = made.module(world, dropout=0.1, mapping={"pooling": "attention"}, seed=7 if ckpt_path is None else 8)
    watch = Watch(stop_after)
    trainer = factory.trainer(
        max_epochs=4,
        enable_checkpointing=True,
        callbacks=[BestLast(folder, monitor="valid/loss", mode="min", every_n_steps=2), RandomState(), watch],
    )
    questions = made.Questions(world, module.backbone.pad_id)
    if stop_after is None:
        trainer.fit(module, questions, ckpt_path=ckpt_path)
    else:
        with pytest.raises(StoppedError):
            trainer.fit(module, questions, ckpt_path=ckpt_path)
    return module, watch


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("stop_after", [4, 9, 13, 21])  # before, within and after the time when both halves train
def test_a_stopped_run_goes_on_exactly(whole, tmp_path, stop_after):
    module, watch = whole
    run(tmp_path, stop_after=stop_after)
    resumed, rest = run(tmp_path, ckpt_path=tmp_path / "last.ckpt")
    begun = rest.rows[0][0]
    assert 1 < begun <= stop_after
    assert rest.rows == watch.rows[begun:]
    assert rest.moves == watch.moves[begun:]
    for name, value in trained_state(module).items():
        assert torch.equal(value, trained_state(resumed)[name]), name


def test_a_checkpoint_holds_all_that_is_trained_and_scores_as_before(whole, tmp_path):
    module, _ = whole
    run(tmp_path, stop_after=23)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    parts = {name.split(".")[0] for name in saved}
    assert parts == {"lowrank", "mapping", "vector_scale"}
    assert any(name.startswith("mapping.meta.body") for name in saved)
    assert "mapping.meta.no_history" in saved

    fresh = made.module(made.data(), mapping={"pooling": "attention"}, seed=5).eval()
    load_checkpoint(tmp_path / "last.ckpt", fresh, fresh.identity)
    other = made.module(made.data(), mapping={"pooling": "attention"}, seed=6).eval()
    other.load_state_dict(saved, strict=False)
    batch = made.batch(made.pairs(9).versions["collaborative"])
    assert torch.equal(fresh.loss(batch), other.loss(batch))
    assert not torch.equal(fresh.loss(batch), module.eval().loss(batch))  # a step earlier


def test_a_checkpoint_of_other_tasks_is_refused(tmp_path, whole):
    run(tmp_path, stop_after=3)
    other = made.module(made.data(), mapping={"pooling": "attention"}, tasks=2)
    with pytest.raises(UserError, match="tasks"):
        load_checkpoint(tmp_path / "last.ckpt", other, other.identity)


def test_what_only_the_collaborative_vectors_know_is_learned_through_the_mapping(world):
    """Labels are a coordinate of the item's vector; the wording of all questions is the same."""
    _, encoder = world
    module = made.module(
        world,
        objective=Objective(curriculum="two_stage", middle=0.1),
        optimizer=OptimizerSettings(lr=1e-2, schedule="constant", warmup_steps=0),
        batch_size=16,
    )
    questions = made.Questions(world, module.backbone.pad_id, rows=160, tasks=(made.LIKED,), batch_size=16)
    collaborative = questions.train.versions["collaborative"]
    likes = (encoder.items[torch.from_numpy(collaborative.items[:, 0])][:, 0] > 0).numpy()
    text = questions.train.versions["text"]
    for prompts in (text, collaborative):
        prompts.target[:], prompts.label[:] = ~likes, likes
        prompts.prompts.ids[:] = np.where(prompts.prompts.ids > 0, 50, 0)
    factory.trainer(max_epochs=20, limit_val_batches=0).fit(module.train(), questions)
    module.eval()
    right = ((module(made.batch(collaborative)) > 0).numpy() == likes).mean()
    assert right > 0.95
    assert ((module(made.batch(text)) > 0).numpy() == likes).mean() < 0.8


def test_weighted_losses_shrink_gradients_and_adam_divides_them_out(world):
    objective = Objective(curriculum="weighted")
    plain = made.started(made.module(world, objective=Objective(skip_below=0.0), optimizer=steady()))
    module = made.started(made.module(world, objective=objective, optimizer=steady()))
    first = fit(plain, world, max_steps=1, max_epochs=-1).logged[0]
    watch = fit(module, world, max_steps=1, max_epochs=-1)
    weight = objective.weight(0.0)
    for group, share in (("lowrank", weight), ("mapping", 1 - weight)):
        assert watch.logged[0][f"train/grad_norm_{group}"] == pytest.approx(
            share * first[f"train/grad_norm_{group}"], rel=1e-3
        )
    longer = made.started(made.module(world, objective=objective, optimizer=steady()))
    moves = np.array(fit(longer, world, max_steps=20, max_epochs=-1).moves)
    # A rate scaled by lambda would end at 3e-4 of the full one; Adam's averages of 20 steps leave a sixth.
    assert ((moves > 0.1e-4) & (moves < 1.5e-4)).all()
