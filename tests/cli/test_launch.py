"""A mistyped command line gets one line with the nearest valid names, and torch is never loaded for it."""

import os
import subprocess
import sys

import pytest

from recsys_lora.config.paths import options
from tests.copies import typed

PROGRAM = """
import sys
from recsys_lora.run import main
try:
    main()
except SystemExit as leaving:
    print("status", leaving.code, "torch" in sys.modules, "lightning" in sys.modules)
"""

FULL = """
import errno
from hydra.core import utils
def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")
utils._save_config = full
"""
"""A disk on which Hydra cannot write its records."""

MISTAKES = [
    (["model=coar"], "model=coar: no such option: did you mean cora?"),
    (["data=ml1m"], "did you mean ml_1m"),
    (["modle=cora"], "modle: no such option: did you mean model"),
    (["preset.rank=8"], "preset.rank: this command has no such option: leave it out"),
    (["model.rnk=8"], "model.rnk: no such option: did you mean model.rank"),
    (["experimnt=demo"], "did you mean experiment"),
    (["trainer.max_step=3"], "did you mean trainer.max_steps"),
    (["model.rank=["], "model.rank=[: not an override Hydra can read"),
    (["data.root=~/ml-1m"], "data.root=~/ml-1m: a ~ stands for no folder here: write $HOME"),
    (["logger=null"], "logger=null: logger takes the name of one of its files: write logger=NAME"),
    (["trainer=2"], "trainer=2: trainer takes the name of one of its files"),
    (["data/split=0.8"], "data/split=0.8: data/split takes the name"),
    (["=1"], "=1: a group takes the name of one of its files: write GROUP=NAME"),
    (["llm=hub"], "llm.name: has to be given with what was chosen: add llm.name=VALUE"),
    (["llm=gguf"], "add llm.path=VALUE"),
    (["model.optimizer.lr=inf"], "model.optimizer.lr=inf: give a finite number"),
    (["data.positive=nan"], "data.positive=nan: give a finite number"),
    (["tags=[a,-inf]"], "tags=-inf: give a finite number"),
    (["data.name=../.."], "data.name=../..: it becomes a folder's name: leave out slashes"),
    (["cf.name=.."], "cf.name=..: it becomes a folder's name"),
    (["paths.runs=/dev/null/runs"], "the folder cannot be made (Not a directory): choose another by paths.runs="),
    (["hydra.run.dir=/proc/nowhere"], "/proc/nowhere: the folder cannot be made"),
    (["-m", "paths.runs=/proc/nowhere"], "the folder cannot be made (No such file or directory)"),
    (["-m", "model=coar"], "model=coar: no such option: did you mean cora?"),
    (["-m", "model.rnk=8,16"], "model.rnk: no such option: did you mean model.rank"),
]


def command(tmp_path, *arguments: str, program: str = PROGRAM) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What each mistake is answered with."""
    lines = [(tmp_path_factory.mktemp("mistake"), arguments) for arguments, _ in MISTAKES]
    return typed(lines, ["hydra", "recsys_lora.run"], PROGRAM)


@pytest.mark.parametrize("number", range(len(MISTAKES)), ids=[" ".join(arguments) for arguments, _ in MISTAKES])
def test_a_mistake_is_one_line_with_the_nearest_names(answers, number):
    _, out, err = answers[number]
    assert MISTAKES[number][1] in err
    assert len(err.strip().splitlines()) == 1
    assert out.strip().endswith("status 2 False False")


@pytest.mark.parametrize("verb", ["", "run", "export", "runs", "compare", "report", "wandb-report"])
@pytest.mark.parametrize("buffering", ["", "1"])
def test_output_that_nobody_reads_ends_the_command_in_silence(tmp_path, verb, buffering):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "recsys_lora", *verb.split(), "--help"]
    variables = {**os.environ, "PYTHONUNBUFFERED": buffering}
    done = subprocess.run(command, stdout=writer, stderr=-1, cwd=tmp_path, env=variables, check=False)
    os.close(writer)
    assert not done.stderr


def test_help_lists_groups_without_torch(tmp_path):
    for arguments in (["--help"], ["--help", "all"]):
        out, _ = command(tmp_path, *arguments)
        assert "one run" in out
        assert "torch" not in out.split("status")[-1]
    assert f"model: {', '.join(options('model'))}" in out


@pytest.mark.parametrize("sweep", [(), ("-m",)])
def test_a_disk_that_is_full_from_the_start_is_one_line(tmp_path, sweep):
    out, err = command(tmp_path, *sweep, "data=table", "data.interactions=x.csv", program=FULL + PROGRAM)
    assert "the disk is full (" in err
    assert "runs/" in err
    assert len(err.strip().splitlines()) == 1
    assert out.strip().endswith("status 2 False False")
