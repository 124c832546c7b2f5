"""Jobs side by side: each ends by itself, they share what they can, and nothing outlives the command."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from recsys_lora.cli import local
from recsys_lora.cli.jobs import failures
from recsys_lora.cli.status import read_status
from recsys_lora.cli.sweep_job import SweepJob
from recsys_lora.utils.errors import UserError
from tests.jobs import NO_METHOD, own_tables, write_tables

COMMAND = (sys.executable, "-m", "recsys_lora.run", "-m", "hydra/launcher=local", *NO_METHOD, "row=mf")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    return folder, write_tables(folder, *own_tables())


@pytest.fixture(scope="module")
def twice(place):
    """Run a sweep of four jobs two times: two that fail, two that need the same CF model at the same moment."""
    folder, tables = place
    sweep = folder / "sweep"
    alone = ["hydra.launcher.threads_per_job=1", "hydra.launcher.gpus_per_job=0", f"hydra.sweep.dir={sweep}"]
    line = [*COMMAND, *tables, *alone, "data.positive=4,99", "evaluation.warm=seen,count"]
    variables = {**os.environ, "RECSYS_LORA_HOME": str(folder / "home")}
    done = []
    for _ in range(2):
        run = subprocess.run(line, cwd=folder, env=variables, capture_output=True, text=True, check=False)
        done.append((run, [(sweep / number / "metrics.json").stat().st_mtime_ns for number in "01"]))
    return done, sweep, folder / "home"


@pytest.mark.slow
def test_each_job_says_how_it_ended_and_the_command_fails_with_the_table(twice):
    (run, _), _ = twice[0]
    sweep = twice[1]
    assert run.returncode == 1, run.stderr
    assert "error: 2 of the sweep's jobs failed, the first with: " in run.stderr.splitlines()[-1]
    assert [read_status(sweep / number).status for number in "0123"] == ["finished", "finished", "failed", "failed"]
    rows = list(csv.DictReader((sweep / "sweep.csv").open()))
    assert [row["status"] for row in rows] == ["finished", "finished", "failed", "failed"]
    assert rows[2]["error"] == read_status(sweep / "2").error
    assert rows[0]["ctr/auc"] == rows[1]["ctr/auc"] != ""
    assert "job 3: started: data.positive=99 evaluation.warm=count\n" in run.stdout


@pytest.mark.slow
def test_jobs_at_the_same_moment_make_an_artifact_once(twice):
    _, sweep, home = twice
    logs = [(sweep / number / "run.log").read_text() for number in "01"]
    assert sum("cf mf-table: reused" in log for log in logs) == 1
    assert len(list((home / "artifacts" / "cf").glob("*/artifact.json"))) == 1


@pytest.mark.slow
def test_a_job_has_its_own_threads_gpus_and_output(twice):
    _, sweep, _ = twice
    environment = json.loads((sweep / "0" / "environment.json").read_text())
    assert environment["variables"] == {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    assert environment["hardware"]["threads"] == 1
    assert "-m recsys_lora.run -m hydra/launcher=local" in environment["command"]
    assert "data.positive=4" in (sweep / "0" / ".hydra" / "overrides.yaml").read_text()


@pytest.mark.slow
def test_what_has_finished_is_not_run_again(twice):
    ((_, made), (second, made_later)), sweep, _ = twice
    assert made == made_later
    assert second.returncode == 1
    assert "job 1: finished before" in (sweep / "1" / "output.log").read_text()


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow), (signal.SIGKILL, -9)],
)
def test_no_process_outlives_the_command(place, tmp_path, number, status):
    folder, tables = place
    endless = ["cf.trainer.max_epochs=1000000", "cf.trainer.patience=1000000", "seed=1,2"]
    line = [*COMMAND, *tables, *endless, f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    variables = {**os.environ, "RECSYS_LORA_HOME": str(tmp_path / "home")}
    command = subprocess.Popen(line, cwd=folder, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        logs = [tmp_path / "sweep" / job / "run.log" for job in "01"]
        deadline = time.monotonic() + 120
        while not all(log.is_file() for log in logs):
            assert command.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        started = psutil.Process(command.pid).children(recursive=True)
        assert len(started) >= 2
        command.send_signal(number)
        assert command.wait(timeout=60) == status
        _, alive = psutil.wait_procs(started, timeout=60)
        assert not alive
    finally:
        command.kill()
        command.wait()


def test_a_process_that_dies_is_a_failed_job_and_the_next_one_runs(tmp_path):
    jobs = [SweepJob(number, (f"seed={number}",), tmp_path / str(number), b"no pickle") for number in range(2)]
    reasons = local.run_side_by_side(jobs, {"jobs": 1, "gpus_per_job": 0})
    for job, reason in zip(jobs, reasons, strict=True):
        assert reason.startswith("its process ended with exit status 1 (_pickle.UnpicklingError: ")
        assert str(job.folder / "output.log") in reason
        assert read_status(job.folder).error == reason
    assert failures(tmp_path) == reasons


@pytest.mark.parametrize(
    ("visible", "settings", "expected"),
    [
        ("0,1,2,3", {"jobs": 2}, ["0,1", "2,3"]),
        ("0,1,2,3,4", {"jobs": 2}, ["0,1", "2,3"]),
        ("4,7", {"jobs": 2, "gpus_per_job": 1}, ["4", "7"]),
        ("GPU-a,GPU-b", {"jobs": 3}, ["GPU-a", "GPU-b", "GPU-a"]),
        ("0,1", {"jobs": 2, "gpus_per_job": 0}, ["", ""]),
        ("", {"jobs": 2}, [None, None]),
    ],
)
def test_gpus_are_shared_out(monkeypatch, visible, settings, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert local.gpus_of_places(local.LocalSettings(**settings)) == expected


def test_more_gpus_than_there_are_is_one_line(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(UserError, match=r"gpus_per_job=2: 2 jobs at once need 4 GPUs, here are 2"):
        local.run_side_by_side([], {"jobs": 2, "gpus_per_job": 2})


@pytest.mark.parametrize(
    "wrong", [{"jobs": 0}, {"jobs": "two"}, {"job": 2}, {"minutes": 0}, {"training_share": 1.0}, {"archive": 3}]
)
def test_a_wrong_setting_is_named(wrong):
    with pytest.raises(UserError, match=rf"hydra\.launcher\.{next(iter(wrong))}"):
        local.run_side_by_side([], wrong)
