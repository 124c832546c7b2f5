"""The command as a process, ended from outside at every stage: the same command goes on to the same numbers."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from recsys_lora.cli.status import FINISHED, RUNNING, read_status
from tests.jobs import SMALL, own_tables, write_tables

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
LONG = (
    "data.train_rows=48",
    "trainer.max_epochs=12",
    "callbacks.stop_early.patience=100",
    "model.dropout=0.2",
    "cf.trainer.max_epochs=40",
    "cf.trainer.patience=40",
)
SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_JOB_NAME": "train",
    "SLURM_NTASKS": "1",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}
PATIENCE = 600


class Command:
    """One command line, its cache and the parent of its run folders."""

    def __init__(self, place: Path, tables: tuple[str, ...], *overrides: str) -> None:
        self.place, self.home = place, place / "home"
        place.mkdir()
        own = [*SMALL, *LONG, *tables, *overrides]
        self.line = [sys.executable, "-m", "recsys_lora.run", *own, "hydra.job_logging.root.level=INFO"]

    def start(self, **variables: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "RECSYS_LORA_HOME": str(self.home), **variables}
        with (self.place / "said.txt").open("w") as said:
            return subprocess.Popen(self.line, cwd=self.place, env=environment, stdout=said, stderr=said, text=True)

    def said(self) -> str:
        return (self.place / "said.txt").read_text()

    def end(self, number: int, there: Callable[[], bool], **variables: str) -> int:
        """Start it, send a signal once `there` says so, and return the exit status."""
        process = self.start(**variables)
        try:
            give_up = time.monotonic() + PATIENCE
            while not there():
                assert process.poll() is None, self.said()
                assert time.monotonic() < give_up, self.said()
                time.sleep(0.002)
            process.send_signal(number)
            return process.wait(timeout=PATIENCE)
        finally:
            process.kill()
            process.wait()

    def finish(self) -> dict:
        process = self.start()
        try:
            assert process.wait(timeout=PATIENCE) == 0, self.said()
        finally:
            process.kill()
            process.wait()
        return json.loads((self.folder() / "metrics.json").read_text())

    def folder(self) -> Path:
        """Return the run's folder, of which there is one however often the command was started."""
        [folder] = [path.parent for path in self.place.glob("runs/*/*/status.json")]
        return folder

    def made(self, stage: str) -> bool:
        return any(self.home.glob(f"artifacts/{stage}/*/artifact.json"))

    def makes(self, stage: str) -> Callable[[], bool]:
        """Return what tells that a stage is being made."""
        return lambda: any(self.home.glob(f"artifacts/{stage}/.*.lock")) and not self.made(stage)

    def saves(self, folder: str = "checkpoints") -> Callable[[], bool]:
        """Return what tells that a checkpoint has been written since now, into a folder of the run's."""
        last = f"runs/*/*/{folder}/last.ckpt"
        before = max((path.stat().st_mtime_ns for path in self.place.glob(last)), default=0)
        return lambda: any(path.stat().st_mtime_ns > before for path in self.place.glob(last))


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return write_tables(tmp_path_factory.mktemp("tables"), *own_tables(60, 60))


@pytest.fixture(autouse=True)
def interruptible():
    """Let the processes be interrupted also where whoever runs the tests has SIGINT ignored, as in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def numbers(metrics: dict) -> dict:
    """Return metrics.json without how long things took and what was found made."""
    kept = {key: value for key, value in metrics.items() if key not in ("seconds", "tasks", "training")}
    tasks = {name: {key: block[key] for key in block if key != "scoring"} for name, block in metrics["tasks"].items()}
    training = {key: value for key, value in metrics["training"].items() if key not in ("seconds", "reused")}
    return {**kept, "tasks": tasks, "training": training}


def curve(folder: Path) -> pl.DataFrame:
    return pl.read_csv(folder / "metrics.csv").select("step", "train/loss", "train/lr", "valid/auc", "valid/loss")


def slurm(place: Path) -> dict[str, str]:
    """Return the variables of a SLURM job whose scontrol writes down what it is asked."""
    tool = place / "bin" / "scontrol"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\necho "$@" >> {place}/asked.txt\n')
    tool.chmod(0o755)
    return {**SLURM, "PATH": f"{tool.parent}:{os.environ['PATH']}"}


def nobody_left(place: Path) -> bool:
    """Tell whether no process is left that was started for a job below a folder."""
    lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return not [line for line in lines if "recsys_lora.pipeline.worker" in line and str(place) in line]


def test_ended_at_every_stage_it_comes_to_the_same_numbers(tables, tmp_path):
    whole = Command(tmp_path / "whole", tables)
    expected = whole.finish()
    own = Command(tmp_path / "own", tables)
    for stage in ("prepare", "cf"):
        assert own.end(signal.SIGKILL, own.makes(stage)) == -signal.SIGKILL
        assert not own.made(stage)
    assert own.end(signal.SIGKILL, own.saves()) == -signal.SIGKILL
    assert read_status(own.folder()).status == RUNNING
    for number, status, word in ((signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")):
        assert own.end(number, own.saves()) == status, own.said()
        assert "training goes on from step" in own.said()
        assert own.said().splitlines()[-1] == f"{word}: the same command goes on from what is kept"
        assert "Traceback" not in own.said()
    assert own.end(signal.SIGUSR1, own.saves(), **slurm(own.place)) == 138, own.said()
    assert (own.place / "asked.txt").read_text() == "requeue 4711\n"
    assert not own.made("method")
    assert own.end(signal.SIGKILL, own.makes("test")) == -signal.SIGKILL
    assert numbers(own.finish()) == numbers(expected)
    assert read_status(own.folder()).status == FINISHED
    assert curve(own.folder()).equals(curve(whole.folder()))
    assert not list(own.home.glob("artifacts/*/.*.tmp"))
    assert not list(own.folder().glob("checkpoints/.*"))


def test_two_processes_go_on_together_and_none_outlives_the_first(tables, tmp_path):
    short = ("trainer=ddp_sim", "trainer.max_epochs=4")
    whole = Command(tmp_path / "whole", tables, *short)
    expected = whole.finish()
    own = Command(tmp_path / "own", tables, *short)
    assert own.end(signal.SIGKILL, own.saves()) == -signal.SIGKILL
    give_up = time.monotonic() + 30
    while not nobody_left(own.place):
        assert time.monotonic() < give_up
        time.sleep(0.1)
    assert own.end(signal.SIGTERM, own.saves()) == 143, own.said()
    assert nobody_left(own.place)
    assert numbers(own.finish()) == numbers(expected)
    assert curve(own.folder()).equals(curve(whole.folder()))
