"""What may be searched, what is proposed, and what is written of the best."""

import shlex
from types import SimpleNamespace

import optuna
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from recsys_lora.config.paths import conf_dir, options
from recsys_lora.search.pruning import ReportTrial, reporting
from recsys_lora.search.result import best_so_far, experiment, importances, png
from recsys_lora.search.space import check_space, read_space
from recsys_lora.utils.errors import UserError
from tests.documents import of_yaml
from tests.jobs import composed, resolved
from tests.search.made import with_choices

SPACES = [name for name in options("hparams_search") if name != "cora_grid"]
LEFT_OUT = ("paths", "test", "group", "resume", "hydra")


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=ckf", "tasks=[ctr]", "model.rank=3"],
        ["row=cora_mf", "data=ml_1m", "data/split=global_time", "data.root=FOLDER"],
        ["experiment=demo", "debug=limit", "seed=5"],
        ["row=mf", "budget=full", "cf.encoder.dim=7"],
        ["model=collm", "model.rank=3"],
        ["hparams_search=sasrec", "trainer.limit_val_batches=2"],
    ],
    ids=" ".join,
)
def test_an_experiment_composes_to_the_config_it_was_written_for(tmp_path, overrides):
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        cfg, choices = with_choices(*overrides)
        cfg.pop("search", None)
        (tmp_path / "experiment").mkdir()
        (tmp_path / "experiment" / "best.yaml").write_text(experiment(cfg, choices, ["what for"]))
        again = compose("config", [f"hydra.searchpath=[file://{tmp_path}]", "experiment=best"])
    wanted, got = (OmegaConf.to_container(one, resolve=False) for one in (cfg, again))
    assert {k: v for k, v in got.items() if k not in LEFT_OUT} == {k: v for k, v in wanted.items() if k not in LEFT_OUT}


@pytest.mark.parametrize(
    ("node", "line"),
    [
        ({}, "empty"),
        ({"model.rank": 4}, "neither choices nor a range"),
        ({"model.rank": []}, "neither choices nor a range"),
        ({"model.rank": {"low": 1}}, "neither choices nor a range"),
        ({"model.rank": [4, 4]}, "twice"),
        ({"model.rank": [4], "model": {"rank": [8]}}, "twice"),
        ({"model.rank": {"low": 1, "high": 8, "lg": True}}, "did you mean log"),
        ({"model.rank": {"low": 1, "high": 8, "step": 0.5}}, "whole"),
        ({"model.rank": {"low": 1, "high": 8, "step": 2, "log": True}}, "cannot both"),
        ({"model.rank": {"low": 1, "high": "8"}}, "have to be numbers"),
        ({"model.rank": {"low": 1, "high": 8, "log": 1}}, "true or false"),
    ],
    ids=str,
)
def test_a_space_that_is_none_is_refused(node, line):
    with pytest.raises(UserError, match=line):
        read_space(node)


def test_values_are_proposed_as_the_space_says():
    space = read_space({"a": {"b": {"low": 2, "high": 6, "step": 2}, "c": {"low": 0.5, "high": 1}}, "d": [["x"], None]})
    drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    values = [
        {key: entry.suggest(trial, key) for key, entry in space.items()} for trial in (drawn.ask() for _ in range(40))
    ]
    assert {v["a.b"] for v in values} == {2, 4, 6}
    assert all(0.5 <= v["a.c"] <= 1 for v in values)
    assert all(v["d"] in (["x"], None) for v in values)
    assert len({str(v["d"]) for v in values}) == 2


@pytest.mark.parametrize("name", SPACES)
def test_the_spaces_that_are_shipped_fit_the_config_their_command_composes(name):
    (command,) = of_yaml(conf_dir() / "hparams_search" / f"{name}.yaml")
    program, overrides = command.text.split()[:3], shlex.split(command.text)[3:]
    assert program == ["python", "-m", "recsys_lora.tune"]
    cfg = composed(*overrides)
    space = read_space(resolved(*overrides)["search"]["space"])
    assert len(space) >= 3
    check_space(cfg, space)


def test_another_methods_training_is_not_reported():
    trial = optuna.create_study().ask()
    callback = ReportTrial("valid/auc", "collm")
    trainer = SimpleNamespace(sanity_checking=False, callback_metrics={"valid/auc": 0.6})
    with reporting(trial):
        callback.on_validation_end(trainer, SimpleNamespace(name="tallrec"))
        callback.on_validation_end(trainer, SimpleNamespace(name="collm"))
    callback.on_validation_end(trainer, SimpleNamespace(name="collm"))
    assert trial.study.trials[0].intermediate_values == {1: 0.6}


def test_the_plot_shows_the_best_so_far_and_what_mattered():
    drawn = optuna.create_study(direction="minimize", sampler=optuna.samplers.RandomSampler(seed=0))
    drawn.optimize(lambda t: t.suggest_float("much", 0, 1) + 1e-3 * t.suggest_float("little", 0, 1), n_trials=60)
    values = [t.value for t in drawn.trials]
    assert best_so_far(drawn) == (list(range(60)), [min(values[: n + 1]) for n in range(60)])
    shares = importances(drawn)
    assert list(shares) == ["much", "little"]
    assert sum(shares.values()) == pytest.approx(1)
    assert png(drawn, "loss").startswith(b"\x89PNG")
    assert importances(optuna.create_study()) == {}
