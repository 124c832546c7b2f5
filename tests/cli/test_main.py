"""`recsys-lora VERB` is `python -m recsys_lora.VERB`."""

import subprocess
import sys

import pytest
import yaml

from recsys_lora.cli import main as command
from recsys_lora.cli.main import VERBS, known
from recsys_lora.utils.errors import UserError
from tests.jobs import NO_METHOD, own_tables, run, write_tables


def typed(folder, *arguments: str) -> subprocess.CompletedProcess:
    line = [sys.executable, "-m", "recsys_lora", *arguments]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)


def test_help_names_the_verbs(tmp_path):
    done = typed(tmp_path, "--help")
    assert done.returncode == 0
    assert all(f"  {verb} " in done.stdout for verb in VERBS)


@pytest.mark.parametrize(("verb", "said"), [("run", "one run"), ("prepare", "checksums=false"), ("tune", "20 trials")])
def test_a_verb_has_the_help_of_its_module(tmp_path, verb, said):
    ours = typed(tmp_path, verb, "--help")
    module = subprocess.run(
        [sys.executable, "-m", f"recsys_lora.{verb}", "--help"], capture_output=True, text=True, check=True
    )
    assert said in ours.stdout
    assert ours.stdout == module.stdout


@pytest.mark.parametrize("verb", ["run", "prepare"])
def test_help_with_an_override_shows_the_config_that_it_makes(tmp_path, verb):
    assert ("seed: 3" in typed(tmp_path, verb, "--help", "seed=3").stdout) == (verb != "prepare")


def test_a_verb_that_hydra_does_not_compose_gets_its_arguments(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["recsys-lora", "compare", "nowhere"])
    with pytest.raises(SystemExit) as left:
        command.main()
    assert left.value.code == 2
    assert capsys.readouterr().err == "error: nowhere: no such folder: give run folders, or folders that hold runs\n"


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("rnu", "rnu: no such verb: did you mean run"),
        ("model=cora", "model=cora: a verb comes first: recsys-lora run model=cora"),
        ("-m", "-m: a verb comes first: recsys-lora run -m"),
    ],
)
def test_what_is_no_verb_is_answered_with_one_that_is(verb, said):
    with pytest.raises(UserError, match=said):
        known(verb)


def test_a_run_of_another_run_s_config_writes_nothing_into_its_folder(tmp_path, home):
    old = tmp_path / "old"
    run(old, *NO_METHOD, "row=mf", *write_tables(tmp_path, *own_tables()))
    before = {path: path.stat().st_mtime_ns for path in old.rglob("*")}
    config = ("--config-path", str(old), "--config-name", "config", "hydra.run.dir=new", "seed=2")
    second = typed(tmp_path, "run", *config)
    assert second.returncode == 0, second.stderr
    assert {path: path.stat().st_mtime_ns for path in old.rglob("*")} == before
    written = yaml.safe_load((tmp_path / "new" / "config.yaml").read_text())
    assert written["paths"]["run"] == str(tmp_path / "new")
    assert written["callbacks"]["checkpoint"]["folder"] == str(tmp_path / "new" / "checkpoints")


@pytest.mark.parametrize(
    "words", [["recommend", "out=lists.csv"], ["serve"], ["mcp"], ["export", "to=peft"]], ids=" ".join
)
def test_a_folder_without_a_run_is_told_before_libraries_are_loaded(tmp_path, words):
    verb, *settings = words
    code = (
        f"import sys; from recsys_lora.cli.{verb} import main\n"
        "try: main(sys.argv[1:])\nfinally: print([name for name in ('torch', 'lightning') if name in sys.modules])"
    )
    line = [sys.executable, "-c", code, "run=nowhere", *settings]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "[]\n")
    assert done.stderr == "error: nowhere: no such folder: give the folder of a run, or of an exported bundle\n"
