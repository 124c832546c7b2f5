"""The notebooks are their scripts, run with outputs kept, and they still run."""

import base64
import re
import shutil
import subprocess
import sys

import jupytext
import nbformat
import pytest
from jupytext.compare import compare_notebooks

from tests.documents import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
FOLDER = ROOT / "notebooks"
SCRIPTS = sorted(FOLDER.glob("[0-9]*.py"))
PNG = b"\x89PNG"
MACHINE = re.compile(r"(?<![\w.])/(?:tmp|work|root|home|var|Users)/")
KILOBYTES = 400


def parametrized(test):
    return pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)(test)


def stored(script):
    return nbformat.read(script.with_suffix(".ipynb"), as_version=4)


def outputs(notebook):
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def figures(notebook):
    return [base64.b64decode(o.data["image/png"]) for o in outputs(notebook) if "image/png" in o.get("data", {})]


def test_every_notebook_has_a_script_and_the_other_way_round():
    assert len(SCRIPTS) == 4
    assert [path.stem for path in sorted(FOLDER.glob("*.ipynb"))] == [path.stem for path in SCRIPTS]


@parametrized
def test_script_and_notebook_are_in_step(script):
    written = jupytext.read(script)
    assert written.metadata["jupytext"]["formats"] == "ipynb,py:percent"
    assert stored(script).metadata["jupytext"]["formats"] == "ipynb,py:percent"
    compare_notebooks(stored(script), written, fmt="py:percent", compare_ids=False)


@parametrized
def test_outputs_and_figures_are_stored_and_name_no_machine(script):
    notebook = stored(script)
    nbformat.validate(notebook)
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
    assert not [output for output in outputs(notebook) if output.output_type == "error"]
    assert figures(notebook)
    assert all(figure.startswith(PNG) for figure in figures(notebook))
    text = script.with_suffix(".ipynb").read_text()
    assert not MACHINE.search(text), MACHINE.findall(text)
    assert len(text) < KILOBYTES * 1000


@parametrized
def test_a_notebook_runs_and_its_text_comes_before_its_code(script, tmp_path, monkeypatch):
    monkeypatch.setenv("RECSYS_LORA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    shutil.copytree(FOLDER, tmp_path / "notebooks", ignore=shutil.ignore_patterns("*.ipynb", "__pycache__"))
    copy = tmp_path / "notebooks" / script.name
    line = [sys.executable, "execute.py", copy.name]
    done = subprocess.run(line, cwd=copy.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    made, kept = stored(copy), stored(script)
    assert len(figures(made)) == len(figures(kept))
    assert made.cells[0].cell_type == "markdown"
    assert not list(copy.parent.glob("runs")), "runs belong into the temporary folder"
