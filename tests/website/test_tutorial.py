"""What the tutorial tells people to type after training can be typed, on a run of a tiny model."""

import shlex
import shutil
from importlib import import_module

import polars as pl
import pytest

from tests.documents import FENCE, ROOT
from tests.finished import Runs

VERBS = ("runs", "report", "recommend", "export", "compare")
NAMES = {
    "runs/cora_tuned-ml_100k": "runs/cora",
    "runs/zero_shot-ml_100k": "runs/zero_shot",
    "user=196": "user=u3",
    "item=50": "item=i7",
}
"""What stands in the tutorial for what is here."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the runs and the files that the tutorial has by then."""
    folder = tmp_path_factory.mktemp("tutorial")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSYS_LORA_HOME", str(folder / "home"))
        runs = Runs(folder)
        for name in ("cora", "zero_shot"):
            hydra = runs(name) / ".hydra"  # written where a command line started the run
            hydra.mkdir()
            (hydra / "overrides.yaml").write_text("[]\n")
        (folder / "users.txt").write_text("u3\n")
        pl.DataFrame({"user": ["u3"], "item": ["i1"], "rating": [5.0], "timestamp": [10**6]}).write_csv(
            folder / "today.csv"
        )
        patch.chdir(folder)
        yield folder
    shutil.rmtree(folder)


def commands():
    """Yield the commands of the tutorial that use a run, with the names of here."""
    blocks = FENCE.findall((ROOT / "docs" / "tutorial.md").read_text())
    for line in (line for language, body in blocks if language == "console" for line in body.splitlines()):
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words[:1] == ["recsys-lora"] and len(words) > 1 and words[1] in VERBS:
            for name, here in NAMES.items():
                words = [word.replace(name, here) for word in words]
            yield words[1:]


def test_the_tutorial_uses_a_run_in_every_way():
    assert {words[0] for words in commands()} == set(VERBS)


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_of_the_tutorial_works(place, monkeypatch, capsys, words):
    monkeypatch.setattr("sys.argv", ["recsys-lora", *words])
    import_module(f"recsys_lora.cli.{words[0]}").main(words[1:])
    assert capsys.readouterr().out.strip()
    outs = [place / word.partition("=")[2] for word in words if word.startswith("out=")]
    assert all(out.exists() for out in outs)
    assert bool(outs) == (words[0] in ("recommend", "export"))
