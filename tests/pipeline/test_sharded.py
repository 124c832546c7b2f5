"""`trainer=fsdp`: a frozen backbone spread over processes gives what a whole one gives."""

import polars as pl
import pytest
import torch

from recsys_lora.pipeline.sharded import wants_shards
from recsys_lora.utils.errors import UserError
from tests.jobs import SMALL, SMALL_TASKS, method_of, resolved, run
from tests.pipeline.test_processes import FEW_PAIRS, SAME
from tests.rounding import TRAINING, assert_close

SPREAD = ("trainer=fsdp", "trainer.accelerator=cpu", "trainer.deterministic=true", "trainer.devices=2")


def scores(folder):
    return pl.read_parquet(folder / "predictions_ctr.parquet").sort("user_id", "item_id")["score"]


def compared(tables, tmp_path, *spread):
    """Run one process and a spread job; check that both give the same, and return the latter."""
    alone = run(tmp_path / "one", *SMALL, *SAME, *tables)
    together = run(tmp_path / "two", *SMALL, *SAME, *tables, *spread)
    one, two = scores(tmp_path / "one"), scores(tmp_path / "two")
    assert len(two) == 37
    assert_close(two, one, TRAINING)
    assert_close(method_of(together.metrics)["log_loss"], method_of(alone.metrics)["log_loss"], TRAINING)
    assert method_of(together.metrics)["auc"] == pytest.approx(method_of(alone.metrics)["auc"], abs=FEW_PAIRS)
    best = [outcome.method.training["best_valid"] for outcome in (together, alone)]
    assert best[0] == pytest.approx(best[1], abs=FEW_PAIRS)
    return together


@pytest.mark.slow
def test_a_spread_backbone_trains_and_scores_as_a_whole_one(tables, tmp_path):
    together = compared(tables, tmp_path, *SPREAD)
    backbone = together.method.module.backbone
    weight = backbone.model.base_model.layers[0].mlp.down_proj.weight
    assert weight.to_local().numel() * 2 == weight.numel()
    assert together.method.training["frozen_parameters"] == sum(p.numel() for p in backbone.model.parameters())
    held = torch.load(tmp_path / "two" / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert held
    assert not any(name.startswith("backbone.") for name in held)


@pytest.mark.slow
def test_tasks_with_texts_and_candidates_run_on_a_spread_backbone(tables, tmp_path):
    more = ("model.dropout=0", "llm.gradient_checkpointing=true", "tasks=[ctr,topk]")
    alone = run(tmp_path / "one", *SMALL_TASKS, *tables, *more)
    together = run(tmp_path / "two", *SMALL_TASKS, *tables, *more, *SPREAD)
    assert set(together.metrics["tasks"]) == {"ctr", "topk"}
    found = together.method.training["best_valid"]
    assert_close(found, alone.method.training["best_valid"], TRAINING)


@pytest.mark.slow
@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_a_backbone_is_spread_over_two_gpus(tables, tmp_path):
    compared(tables, tmp_path, "trainer=fsdp", "trainer.devices=2", "llm.dtype=float32")


@pytest.mark.parametrize("strategy", ["fsdp", "deepspeed_stage_3"])
def test_lightning_s_own_sharding_is_refused(strategy):
    with pytest.raises(UserError, match=f"trainer.strategy={strategy}: .*choose trainer=fsdp"):
        wants_shards({"strategy": strategy})


@pytest.mark.parametrize(("trainer", "wanted"), [("ddp", False), ("cpu", False), ("fsdp", True)])
def test_only_trainer_fsdp_spreads(trainer, wanted):
    assert wants_shards(resolved(f"trainer={trainer}")["trainer"]) is wanted
