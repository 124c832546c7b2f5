"""A job on two processes gives what it gives on one, each thing is made once, and a sweep of such jobs is a sweep."""

import json
import subprocess
import sys

import polars as pl
import pytest
from lightning.pytorch.callbacks import Callback

from recsys_lora.processes.group import local_processes
from recsys_lora.utils.errors import UserError
from tests.jobs import NO_METHOD, SMALL, SMALL_TASKS, method_of, run
from tests.rounding import TRAINING, assert_close

pytestmark = pytest.mark.slow
SAME = ("model.dropout=0", "model.generator.dropout=0", "data.train_rows=21", "data.valid_rows=23", "data.test_rows=37")
FEW_PAIRS = 0.02
"""Of an AUC over some 23 rows: pairs whose scores differ by no more than rounding may change places."""
TWO = ("trainer=ddp_sim",)
THREE = (*TWO, "trainer.devices=3")


def predictions(folder, name="predictions_ctr"):
    return pl.read_parquet(folder / f"{name}.parquet").sort("user_id", "item_id")


@pytest.mark.parametrize("processes", [TWO, THREE], ids=["two", "three"])
def test_training_and_scoring_are_those_of_one_process(tables, tmp_path, processes):
    own = (*SMALL, *SAME, *tables, "seed=9")  # nobody else's, so that it is trained here
    alone = run(tmp_path / "one", *own)
    together = run(tmp_path / "two", *own, *processes)
    assert together.method.key != alone.method.key
    one, two = predictions(tmp_path / "one"), predictions(tmp_path / "two")
    assert len(two) == 37
    assert one.select("user_id", "item_id", "label").equals(two.select("user_id", "item_id", "label"))
    assert_close(two["score"], one["score"], TRAINING)
    assert_close(method_of(together.metrics)["log_loss"], method_of(alone.metrics)["log_loss"], TRAINING)
    assert method_of(together.metrics)["auc"] == pytest.approx(method_of(alone.metrics)["auc"], abs=FEW_PAIRS)
    assert together.metrics["valid"]["auc"] == pytest.approx(alone.metrics["valid"]["auc"], abs=FEW_PAIRS)
    assert not list((tmp_path / "two").glob("process*"))
    assert len((tmp_path / "two" / "metrics.csv").read_text().splitlines()) > 1


def test_three_processes_score_what_is_not_trained_as_one_does(tables, tmp_path):
    zero_shot = (*NO_METHOD, "model=zero_shot", *SAME[2:])
    alone = run(tmp_path / "one", *zero_shot, *tables)
    together = run(tmp_path / "three", *zero_shot, *THREE, *tables)
    one, three = predictions(tmp_path / "one"), predictions(tmp_path / "three")
    assert len(three) == 37
    assert one.drop("score").equals(three.drop("score"))
    assert_close(three["score"], one["score"])
    assert_close(method_of(together.metrics)["log_loss"], method_of(alone.metrics)["log_loss"])
    assert method_of(together.metrics)["auc"] == pytest.approx(method_of(alone.metrics)["auc"], abs=FEW_PAIRS)


def test_checkpointed_blocks_accumulation_and_mixed_tasks_are_those_of_one_process(tables, tmp_path):
    """No parameter is reduced twice or waited for in vain, whatever halves and tasks a share of a batch has."""
    more = ("llm.gradient_checkpointing=true", "trainer.accumulate_grad_batches=2", "model.dropout=0")
    tasks = (*SMALL_TASKS, "tasks=[ctr,rating]", "data.train_rows=24", *more)
    alone = run(tmp_path / "one", *tasks, *tables)
    together = run(tmp_path / "three", *tasks, *THREE, *tables)
    assert together.method.training["steps"] == alone.method.training["steps"] > 1
    state, expected = together.method.module.state_dict(), alone.method.module.state_dict()
    trained = [name for name, part in alone.method.module.named_parameters() if part.requires_grad]
    assert trained
    for name in trained:
        assert_close(state[name], expected[name], TRAINING, what=name)
    assert_close(together.method.training["best_valid"], alone.method.training["best_valid"], TRAINING)


def test_checkpointed_generated_weights_with_accumulation_are_those_of_one_process(tables, tmp_path):
    more = ("llm.gradient_checkpointing=true", "trainer.accumulate_grad_batches=2")
    alone = run(tmp_path / "one", *SMALL, *SAME, *more, *tables)
    together = run(tmp_path / "two", *SMALL, *SAME, *more, *TWO, *tables)
    one, two = predictions(tmp_path / "one"), predictions(tmp_path / "two")
    assert_close(two["score"], one["score"], TRAINING)
    assert together.metrics["valid"]["auc"] == pytest.approx(alone.metrics["valid"]["auc"], abs=FEW_PAIRS)


def test_a_finished_job_is_found_by_all_processes(tables, tmp_path):
    run(tmp_path / "first", *SMALL, *SAME, *TWO, *tables)
    assert run(tmp_path / "again", *SMALL, *SAME, *TWO, *tables).method.training["reused"]


def test_a_first_stage_and_several_tasks_run_on_two_processes(tables, tmp_path):
    collm = run(tmp_path / "collm", *NO_METHOD, *TWO, *tables, "row=collm_mf", "model.batch_size=8")
    assert method_of(collm.metrics)["rows"] == 40
    several = run(tmp_path / "ckf", *SMALL_TASKS, *TWO, *tables, "tasks=[ctr,rating]")
    assert set(several.metrics["tasks"]) == {"ctr", "rating"}


def test_a_mistake_is_the_first_process_s_line(tables, tmp_path):
    with pytest.raises(UserError, match="both classes"):
        run(tmp_path / "bad", *SMALL, *TWO, *tables, "data.positive=99")


class Falls(Callback):
    """Ends the process of rank 1."""

    def on_train_start(self, trainer, pl_module):
        if trainer.global_rank == 1:
            raise RuntimeError("the device is gone")


def test_a_process_that_falls_ends_the_job_with_its_reason(tables, tmp_path):
    falls = "+callbacks.falls._target_=tests.pipeline.test_processes.Falls"
    with pytest.raises(
        UserError, match=r"process 1 of the job failed \(.*RuntimeError: the device is gone\): see .*log"
    ):
        run(tmp_path / "bad", *SMALL, *TWO, *tables, falls)


def test_a_sweep_of_two_points_on_two_processes_has_two_jobs(tables, tmp_path):
    line = [*SMALL, *TWO, *tables, "model.rank=2,3", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    done = subprocess.run(
        [sys.executable, "-m", "recsys_lora.run", "-m", *line],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = sorted((tmp_path / "sweep").rglob("metrics.json"))
    assert [path.parent.name for path in found] == ["0", "1"]
    assert all(method_of(json.loads(path.read_text()))["rows"] == 40 for path in found)
    assert done.stdout.count("cf sasrec-table: reused") + done.stdout.count("fit sasrec") >= 1
    assert not list(tmp_path.glob("runs"))


@pytest.mark.parametrize(("devices", "expected"), [(1, 1), (3, 3), ("2", 2), ([0, 4], 2), (-1, 1), ("auto", 1)])
def test_a_process_a_device(devices, expected):
    assert local_processes({"num_nodes": 1, "devices": devices, "accelerator": "cpu"}) == expected


def test_several_machines_are_started_from_outside():
    with pytest.raises(UserError, match=r"trainer.num_nodes=2: .*torchrun or SLURM"):
        local_processes({"num_nodes": 2, "devices": 1, "accelerator": "cpu"})


def test_processes_started_from_outside_make_one_run(tables, tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "recsys_lora.run"]
    line = [*torchrun, *SMALL, *TWO, *tables, f"paths.runs={tmp_path}"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    [metrics] = tmp_path.rglob("metrics.json")
    assert method_of(json.loads(metrics.read_text()))["rows"] == 40
    assert not list(tmp_path.rglob("process*"))
    assert (done.stdout + done.stderr).count("results are in") == 1
