"""A sweep has ended when its minutes are over: jobs train for their part, and what found no time is named."""

import csv
import os
import pickle
import subprocess
import sys
import tarfile
import time

import pytest
from omegaconf import OmegaConf

from recsys_lora.cli import local
from recsys_lora.cli.deadline import Deadline, days_to_seconds, limit_training
from recsys_lora.cli.status import FAILED, FINISHED, Status, read_status
from recsys_lora.cli.sweep_job import SweepJob
from recsys_lora.utils.files import write_json
from tests.jobs import NO_METHOD, composed, own_tables, write_tables


class Sleeps:
    """A payload that keeps the process that reads it."""

    def __reduce__(self):
        return time.sleep, (600,)


@pytest.mark.parametrize(("jobs", "turns"), [(1, 1), (6, 1), (7, 2), (12, 2), (13, 3)])
def test_a_job_trains_for_its_share_of_a_turn(jobs, turns):
    deadline = Deadline.of({"jobs": 6, "minutes": 50.0, "training_share": 0.6}, jobs)
    assert deadline.turns == turns
    assert deadline.training_seconds == pytest.approx(50 * 60 / turns * 0.6)
    assert 2999 < deadline.left() <= 3000


def test_without_minutes_there_is_no_deadline():
    assert Deadline.of(vars(local.LocalSettings()), 5) is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "00:00:00:01"), (61.9, "00:00:01:01"), (90061, "01:01:01:01"), (900, "00:00:15:00")]
)
def test_times_are_written_as_lightning_reads_them(seconds, text):
    assert days_to_seconds(seconds) == text


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["row=cora_mf"], "00:00:01:40"),
        (["row=collm_mf"], "00:00:00:50"),  # of two stages, each has a trainer's time
        (["row=cora_mf", "trainer.max_time=00:01:00:00"], "00:01:00:00"),
    ],
)
def test_training_ends_in_time_unless_a_person_says_when(overrides, expected):
    config = composed(*overrides)
    limit_training(config, 100.0)
    assert config.trainer.max_time == expected


def test_a_command_without_a_trainer_is_left_as_it_is():
    config = OmegaConf.create({"data": {"name": "x"}})
    limit_training(config, 100.0)
    assert config == {"data": {"name": "x"}}


def test_what_runs_at_the_end_is_ended_and_what_has_not_begun_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(local, "SECONDS_TO_END", 1)
    payload = pickle.dumps(Sleeps())
    jobs = [SweepJob(number, (f"seed={number}",), tmp_path / str(number), payload) for number in range(3)]
    before = Status(FINISHED, ["seed=2"], None)
    write_json(jobs[2].folder / "status.json", vars(before))
    begun = time.monotonic()
    settings = {"jobs": 1, "gpus_per_job": 0, "minutes": 0.06, "training_share": 0.9}
    ended, not_started, finished = local.run_side_by_side(jobs, settings)
    assert time.monotonic() - begun < 0.06 * 60 + 3
    assert "hydra.launcher.minutes=0.06 are over" in ended
    assert not_started.startswith("not started: too little is left of hydra.launcher.minutes=0.06")
    assert finished is None
    assert read_status(jobs[2].folder) == before
    assert [read_status(job.folder).status for job in jobs[:2]] == [FAILED, FAILED]
    assert read_status(jobs[1].folder).overrides == ["seed=1"]
    said = capsys.readouterr().out
    assert "job 1: not started" in said
    assert said.rstrip().endswith("seed=1") or ": seed=1\n" in said


@pytest.mark.slow
def test_a_table_of_rows_and_seeds_within_minutes_leaves_one_archive(tmp_path):
    """The jobs would train for hours; each reaches its table, and the archive is all that a comparison needs."""
    tables, archive = write_tables(tmp_path, *own_tables()), tmp_path / "results.tgz"
    sweep = [
        "hydra/launcher=local",
        "hydra.launcher.jobs=2",
        "hydra.launcher.gpus_per_job=0",
        "hydra.launcher.minutes=3",
    ]
    sweep += ["hydra.launcher.training_share=0.1", f"hydra.launcher.archive={archive}", f"hydra.sweep.dir={tmp_path}/s"]
    endless = ["trainer.max_epochs=100000", "callbacks.stop_early.patience=100000", "evaluation.zero_shot=false"]
    line = [sys.executable, "-m", "recsys_lora.run", "-m", *NO_METHOD, *tables, *sweep, *endless]
    variables = {**os.environ, "RECSYS_LORA_HOME": str(tmp_path / "home")}
    run = subprocess.run(
        [*line, "row=mf,tallrec", "seed=1,2"], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "results.tgz: all but checkpoints" in run.stdout
    with tarfile.open(archive) as packed:
        assert not [name for name in packed.getnames() if name.endswith((".ckpt", ".tmp"))]
        packed.extractall(tmp_path / "away", filter="data")
    assert list((tmp_path / "s").glob("*/checkpoints/*.ckpt"))
    assert OmegaConf.load(tmp_path / "away" / "s" / "2" / "config.yaml").trainer.max_time == "00:00:00:09"
    rows = list(csv.DictReader((tmp_path / "away" / "s" / "sweep.csv").open()))
    assert [row["status"] for row in rows] == ["finished"] * 4
    compared = [sys.executable, "-m", "recsys_lora.compare", str(tmp_path / "away" / "s"), "--draws", "5"]
    found = subprocess.run(compared, capture_output=True, text=True, check=True).stdout
    assert "tallrec" in found
