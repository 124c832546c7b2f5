"""What a process knows of itself before it has met the others."""

import os
import subprocess
import sys

import pytest

from recsys_lora.processes.launched import is_rank_zero, share_of_cores, started_externally

VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "SLURM_NTASKS", "OMP_NUM_THREADS")


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "externally", "zero"),
    [
        ({}, False, True),
        ({"LOCAL_RANK": "1", "RANK": "1"}, True, False),
        ({"LOCAL_RANK": "0", "RANK": "4"}, True, False),
        ({"LOCAL_RANK": "0", "RANK": "0"}, True, True),
        ({"SLURM_NTASKS": "2", "SLURM_PROCID": "1"}, True, False),
        ({"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, False, True),
    ],
)
def test_rank_zero_is_known_from_who_started_the_process(monkeypatch, variables, externally, zero):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (started_externally(), is_rank_zero()) == (externally, zero)


@pytest.mark.parametrize(("allowed", "processes", "share"), [("8", 2, 4), ("8", 3, 2), ("2", 4, 1), ("1", 1, 1)])
def test_processes_share_the_threads_that_this_one_may_use(monkeypatch, allowed, processes, share):
    monkeypatch.setenv("OMP_NUM_THREADS", allowed)
    assert share_of_cores(processes) == share


def test_without_a_word_about_threads_they_share_the_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    assert [share_of_cores(processes) for processes in (1, 2, 4, 12)] == [6, 3, 1, 1]


@pytest.mark.parametrize(("options", "said"), [(["-P"], ""), ([], "ran")])
def test_a_module_of_the_working_folder_runs_only_where_the_parent_would_import_it(tmp_path, options, said):
    (tmp_path / "made.py").write_text("print('ran')")
    script = (
        "import subprocess; from recsys_lora.processes.launched import module_command; "
        "subprocess.run(module_command('made'), stderr=subprocess.DEVNULL)"
    )
    done = subprocess.run([sys.executable, *options, "-c", script], cwd=tmp_path, stdout=-1, text=True, check=True)
    assert done.stdout.strip() == said
