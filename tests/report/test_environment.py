import json
import subprocess
import sys
from importlib import metadata

import pytest

from recsys_lora.report import environment as module
from recsys_lora.report.environment import environment, git_state, package_version


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path):
    package = tmp_path / "recsys_lora"
    package.mkdir()
    (package / "__init__.py").write_text("")
    git(tmp_path, "init", "-b", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "one")
    return package


def test_git_state_tells_commit_and_changes(checkout):
    state = git_state(checkout)
    assert len(state["commit"]) == 40
    assert (state["branch"], state["dirty"], state["changed"]) == ("main", False, [])
    (checkout / "new.py").write_text("")
    (checkout / "__init__.py").write_text("1")
    state = git_state(checkout)
    assert state["dirty"]
    assert set(state["changed"]) == {"recsys_lora/new.py", "recsys_lora/__init__.py"}


def test_no_checkout_no_git_and_foreign_checkouts_are_none(checkout, tmp_path, monkeypatch):
    installed = checkout / ".venv" / "recsys_lora"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert git_state(installed) is None
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    assert git_state(checkout) is None


def test_the_record_is_json_and_says_what_ran(monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["/usr/bin/python3", "-m", "recsys_lora.run", "tags=[a b]"])
    monkeypatch.setattr(module, "git_state", lambda folder: None)
    record = json.loads(json.dumps(environment(), allow_nan=False))
    assert record["command"].endswith("-m recsys_lora.run 'tags=[a b]'")
    assert set(record["packages"]) == set(module.PACKAGES)
    assert record["hardware"]["threads"] >= 1
    assert record["git"] is None


def test_versions_are_those_of_the_modules_that_run(monkeypatch):
    import hydra
    import torch

    monkeypatch.setattr(torch, "__version__", "2.13.0+cu130")
    monkeypatch.setattr(metadata, "version", lambda name: f"files of {name}")
    assert package_version("torch") == "2.13.0+cu130"
    assert package_version("hydra-core") == hydra.__version__
    assert package_version("gguf") == "files of gguf"  # its module does not say
