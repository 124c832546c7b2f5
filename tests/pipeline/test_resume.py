"""A job that starts again in its folder goes on from its own last checkpoint, and from no other."""

import logging

import polars as pl
import pytest
import torch
from omegaconf import OmegaConf

from recsys_lora.config.edge import read_run
from recsys_lora.methods.base import LLMRecommender
from recsys_lora.pipeline import method as method_of_pipeline
from recsys_lora.pipeline.job import execute
from tests.jobs import NO_METHOD, SMALL, composed, method_of, run
from tests.pipeline.place import Killed, killed_at, same, weights

KEPT = (*SMALL, "data.train_rows=48", "trainer.max_epochs=2", "model.dropout=0.2", "evaluation.zero_shot=false")


pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def killed(monkeypatch):
    """Return a function that runs something whose training ends before a step, counted from 0."""

    def killed(step, work):
        with monkeypatch.context() as patch:
            killed_at(step, patch)
            with pytest.raises(Killed):
                work()

    return killed


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO, logger="recsys_lora.pipeline.trainer")
    return caplog


def last(folder):
    return weights(folder / "checkpoints" / "last.ckpt")


def curve(folder):
    return pl.read_csv(folder / "metrics.csv").select("step", "train/loss", "train/lr", "valid/auc")


def test_it_comes_to_the_weights_the_curve_and_the_numbers_of_the_uninterrupted_one(tables, tmp_path, killed, said):
    own, whole = tmp_path / "own", tmp_path / "whole"
    killed(8, lambda: run(own, *KEPT, *tables))
    saved = torch.load(own / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]["BestLast"]
    (own / "checkpoints" / ".last.ckpt.1-0.tmp").write_text("half")
    went_on = run(own, *KEPT, *tables)
    assert "training goes on from step 6 of " in said.text
    assert not list((own / "checkpoints").glob(".*"))
    assert went_on.method.training["seconds"] >= round(saved["seconds"], 1) > 0
    uninterrupted = run(whole, *KEPT, *tables, "stage.force=[method,test]")
    assert same(last(own), last(whole))
    assert same(*(weights(folder / "checkpoints" / "best.ckpt") for folder in (own, whole)))
    assert curve(own).equals(curve(whole))
    assert method_of(went_on.metrics) == method_of(uninterrupted.metrics)
    assert went_on.method.training["best_step"] == uninterrupted.method.training["best_step"]


def test_a_checkpoint_of_another_training_is_not_taken(tables, tmp_path, killed, said):
    own = tmp_path / "own"
    killed(8, lambda: run(own, *KEPT, *tables))
    other = run(own, *KEPT, *tables, "seed=2")
    assert "last.ckpt: of another training: this one starts from scratch" in said.text
    assert "goes on" not in said.text
    assert other.method.training["steps"] == 12
    assert curve(own)["step"].to_list() == list(range(12))


@pytest.mark.parametrize(
    "harm", [lambda content: content[: len(content) * 2 // 3], lambda content: b""], ids=["cut", "empty"]
)
def test_after_a_damaged_checkpoint_the_same_command_starts_from_scratch(tables, tmp_path, killed, said, harm):
    own = tmp_path / "own"
    killed(8, lambda: run(own, *KEPT, *tables))
    path = own / "checkpoints" / "last.ckpt"
    path.write_bytes(harm(path.read_bytes()))
    outcome = run(own, *KEPT, *tables)
    assert f"{path}: not a checkpoint of this program" in said.text
    assert "training starts from scratch" in said.text
    assert outcome.method.training["steps"] == 12


def test_what_is_trained_but_not_yet_kept_is_not_trained_again(tables, tmp_path, killed, monkeypatch):
    def kill(*_):
        raise Killed

    own = tmp_path / "own"
    with monkeypatch.context() as patch:
        patch.setattr(method_of_pipeline, "_keep", kill)
        with pytest.raises(Killed):
            run(own, *KEPT, *tables)
    before = last(own)

    def no_step(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(LLMRecommender, "training_step", no_step)
    outcome = run(own, *KEPT, *tables)
    assert same(last(own), before)
    assert outcome.method.training["steps"] == 12


def test_the_stage_before_goes_on_too(tables, tmp_path, killed, said):
    line = (*NO_METHOD, "model=tallrec", "model.batch_size=8", "evaluation.zero_shot=false", *tables)

    def job(folder):
        cfg = composed(*line, run=folder)
        cfg.first = OmegaConf.create(OmegaConf.to_container(composed(*line).model, resolve=True))
        folder.mkdir(exist_ok=True)
        return execute(read_run(cfg), folder)

    own = tmp_path / "own"
    killed(2, lambda: job(own))
    job(own)
    place = own / "first" / "checkpoints" / "last.ckpt"
    assert f"training goes on from step 2 of {place}" in said.text
    straight = tmp_path / "straight"
    run(straight, *line, "stage.force=[method]")
    assert same(last(own / "first"), last(straight))


def test_the_run_in_wandb_goes_on(tables, tmp_path, killed, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    own = tmp_path / "own"
    line = (*KEPT, *tables, "logger=wandb", "logger.wandb.mode=offline", "test=false")
    killed(8, lambda: run(own, *line))
    name = (own / "wandb_run_id.txt").read_text().strip()
    run(own, *line)
    # offline-run-TIME-ID, and -1 after it where both were started in the same second
    kept = [path.name.split("-")[3] for path in own.glob("wandb/offline-run-*")]
    assert len(kept) == 2
    assert set(kept) == {name}
