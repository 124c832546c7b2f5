"""A job of a sweep that fails is marked and ends nothing else; the same command again runs what has not finished."""

import csv
import subprocess
import sys

import pytest

from recsys_lora.cli.status import read_status
from tests.jobs import NO_METHOD, own_tables, write_tables


@pytest.fixture(scope="module")
def twice(shared):
    """Run one sweep two times, its first job a failure; returns what each said, and its folder."""
    tables = write_tables(shared, *own_tables())
    sweep = shared / "sweep"
    line = [sys.executable, "-m", "recsys_lora.run", "-m", *NO_METHOD, *tables, "row=mf", "data.positive=99,4"]
    done = []
    for _ in range(2):
        run = subprocess.run(
            [*line, f"hydra.sweep.dir={sweep}"], cwd=shared, capture_output=True, text=True, check=False
        )
        done.append((run, (sweep / "1" / "metrics.json").stat().st_mtime_ns))
    return done, sweep


def test_the_other_jobs_run_and_the_command_fails(twice):
    (run, _), _ = twice[0]
    assert run.returncode == 1, run.stderr
    assert "error: 1 of the sweep's jobs failed, the first with: " in run.stderr.splitlines()[-1]
    assert "Traceback" not in run.stderr
    assert "test of table" in run.stdout or "mf" in run.stdout


def test_each_job_says_how_it_ended(twice):
    _, sweep = twice
    failed, finished = read_status(sweep / "0"), read_status(sweep / "1")
    assert failed.status == "failed"
    assert "data.positive" in failed.error or "label" in failed.error
    assert (finished.status, finished.error) == ("finished", None)
    assert "data.positive=4" in finished.overrides


def test_the_table_has_both(twice):
    _, sweep = twice
    rows = list(csv.DictReader((sweep / "sweep.csv").open()))
    assert [row["status"] for row in rows] == ["failed", "finished"]
    assert rows[0]["error"] == read_status(sweep / "0").error
    assert float(rows[1]["ctr/auc"]) > 0
    assert "failed: " in (sweep / "sweep.md").read_text()


def test_what_has_finished_is_not_run_again(twice):
    done, _ = twice
    (first, made), (second, made_later) = done
    assert made == made_later
    assert "job 1: finished before" in second.stdout + second.stderr
    assert "job 1: finished before" not in first.stdout + first.stderr
    assert "job 0: " in second.stdout + second.stderr
