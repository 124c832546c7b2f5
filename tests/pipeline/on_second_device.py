"""Whole jobs on a device that is not the CPU: every method trains, validates and scores there, and its table comes."""

import numpy as np
import polars as pl
import pytest

from recsys_lora.cf.inference import device_of
from recsys_lora.methods.candidates import score_candidates
from recsys_lora.pipeline import job
from tests.jobs import run
from tests.second_device import NAME, second_device

TINY = (
    "llm=tiny",
    "llm.layers=1",
    "budget=smoke",
    "data=table",
    "data.train_rows=16",
    "data.valid_rows=8",
    "data.test_rows=12",
    "evaluation.shuffled_rows=6",
    "evaluation.draws=2",
    "cf.trainer.max_epochs=1",
    "cf.encoder.dim=8",
    "trainer.max_steps=2",
    "trainer.val_check_interval=1",
    "trainer.limit_train_batches=2",
)
ON_SECOND = (f"trainer.accelerator={NAME}", f"trainer.strategy={NAME}")
CKF = ("model=ckf", "model.batch_size=4", "task.topk.candidates=4", "task.topk.cutoffs=[1]")
SLOW = {"collm-sasrec", "tallrec", "zero_shot", "din", "ckf-attention", "cora-pair", "prompt4nr", "person_prompt"}
"""Jobs whose parts others of `METHODS` have, too."""
METHODS = {
    "cora": ("row=cora_mf", "model.generator.query_dim=16"),
    "cora-suffix-checkpointed": ("row=cora_din", "model.scope=suffix", "llm.gradient_checkpointing=true"),
    "cora-pair": ("row=cora_sasrec", "model.generator.input=pair"),
    "collm": ("row=collm_mf",),
    "collm-tuned": ("row=collm_lightgcn", "first=null", "model.tune_lora=true", "model.tune_encoder=true"),
    "collm-sasrec": ("row=collm_sasrec", "first=null"),
    "binllm": ("row=binllm", "first=null"),
    "prompt4nr": ("row=prompt4nr",),
    "person_prompt": ("row=person_prompt", "first=null"),
    "graphlora": ("row=graphlora",),
    "tallrec": ("row=tallrec",),
    "zero_shot": ("row=zero_shot",),
    "icl": ("row=icl",),
    "din": ("row=din",),
    "ckf": (*CKF, "tasks=[ctr,topk,rating]", "cf=mf"),
    "ckf-attention": (*CKF, "tasks=[ctr]", "cf=sasrec", "model.mapping.pooling=attention", "model.lora=all_matrices"),
}


@pytest.fixture
def second(monkeypatch):
    """Let the trainer's device be the second one."""
    with second_device() as device:
        monkeypatch.setattr(job, "device", lambda trainer: device)
        yield device


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in METHODS]
)
def test_a_job_ends_with_its_table(name, tables, second, tmp_path):
    outcome = run(tmp_path, *TINY, *tables, *METHODS[name], *ON_SECOND)
    assert (tmp_path / "metrics.json").is_file()
    if outcome.collaborative is not None:
        assert device_of(outcome.collaborative.encoder) == second
    if outcome.method is not None:
        module = outcome.method.module
        assert {tensor.device for tensor in (*module.parameters(), *module.buffers())} == {second}
        assert np.isfinite(score_candidates(module, outcome.method.datamodule, user=1, items=[1, 2, 3])).all()


def test_scores_are_those_of_the_cpu(tables, tmp_path, monkeypatch):
    overrides = (*TINY, *tables, *METHODS["cora"], "stage.force=[method,test]")
    run(tmp_path / "cpu", *overrides)
    with second_device() as device:
        monkeypatch.setattr(job, "device", lambda trainer: device)
        run(tmp_path / "second", *overrides, *ON_SECOND)
    cpu, second = (
        pl.read_parquet(tmp_path / place / "predictions_ctr.parquet")["score"] for place in ("cpu", "second")
    )
    np.testing.assert_allclose(second, cpu, rtol=1e-5)
