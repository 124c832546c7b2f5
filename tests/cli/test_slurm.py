"""Jobs handed to submitit: what SLURM would be asked for, and a sweep by its local executor."""

import importlib.util
import os
import subprocess
import sys

import pytest
import yaml

from recsys_lora.cli import slurm
from recsys_lora.cli.slurm import SlurmSettings
from recsys_lora.cli.status import read_status
from recsys_lora.config.paths import conf_dir
from recsys_lora.utils.errors import UserError
from tests.jobs import NO_METHOD, own_tables, write_tables

ABSENT = "the extra slurm is not installed"


def test_the_yaml_has_the_settings_and_their_defaults():
    given = yaml.safe_load((conf_dir() / "hydra" / "launcher" / "slurm.yaml").read_text())
    folder, target = given.pop("folder"), given.pop("_target_")
    assert SlurmSettings(folder=folder, **given) == SlurmSettings(folder=folder)
    assert target == "hydra_plugins.recsys_lora_launchers.SlurmLauncher"


def test_sbatch_is_asked_for_what_the_settings_say(tmp_path, monkeypatch):
    pytest.importorskip("submitit", reason=ABSENT)
    (tmp_path / "srun").write_text("#!/bin/sh\n")  # what submitit takes for a cluster
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    settings = SlurmSettings(str(tmp_path), partition="long", gpus=2, cpus=8, minutes=90, sbatch={"qos": "low"})
    made = slurm.executor(settings)
    asked = made._executor._make_submission_file_text("the command", "uid").splitlines()
    expected = ["partition=long", "gpus-per-node=2", "cpus-per-task=8", "time=90", "qos=low", "nodes=1"]
    assert {f"#SBATCH --{line}" for line in expected} <= set(asked)
    assert any(line.startswith("#SBATCH --signal=") and line.endswith("@120") for line in asked)
    assert not any("account" in line or "--mem" in line for line in asked)
    assert made._executor.max_num_timeout == 3


def test_without_a_cluster_one_line_says_what_to_do(tmp_path, monkeypatch):
    pytest.importorskip("submitit", reason=ABSENT)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"hydra/launcher=slurm: .*: start it on a machine of the cluster"):
        slurm.executor(SlurmSettings(str(tmp_path)))


def test_without_submitit_one_line_says_what_to_install(tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n == "submitit" else real(n, *a))
    with pytest.raises(UserError, match=r"submitit is not installed: pip install 'recsys-lora\[slurm\]'"):
        slurm.run_as_array([], {"folder": str(tmp_path)})


@pytest.mark.parametrize("wrong", [{"minutes": 0}, {"cluster": "pbs"}, {"partitions": "gpu"}])
def test_a_wrong_setting_is_named(tmp_path, wrong):
    with pytest.raises(UserError, match=rf"hydra\.launcher\.{next(iter(wrong))}"):
        slurm.run_as_array([], {"folder": str(tmp_path), **wrong})


@pytest.mark.slow
def test_a_sweep_by_the_local_executor_ends_as_any_other(tmp_path):
    pytest.importorskip("submitit", reason=ABSENT)
    sweep, tables = tmp_path / "sweep", write_tables(tmp_path, *own_tables())
    own = ["hydra/launcher=slurm", "hydra.launcher.cluster=local", "hydra.launcher.gpus=0", f"hydra.sweep.dir={sweep}"]
    line = [sys.executable, "-m", "recsys_lora.run", "-m", *own, *NO_METHOD, *tables, "row=mf", "data.positive=4,99"]
    variables = {**os.environ, "RECSYS_LORA_HOME": str(tmp_path / "home")}
    run = subprocess.run(line, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stderr
    assert "error: 1 of the sweep's jobs failed, the first with: data=table" in run.stderr.splitlines()[-1]
    assert [read_status(sweep / number).status for number in "01"] == ["finished", "failed"]
    assert "| failed: " in (sweep / "sweep.md").read_text()
