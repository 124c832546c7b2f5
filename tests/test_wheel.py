"""An installed copy is whole: it works from any folder, with its yaml files inside."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from recsys_lora.config.paths import conf_dir
from tests.documents import ROOT
from tests.jobs import own_tables, write_tables

pytestmark = [pytest.mark.slow, pytest.mark.network]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The unpacked wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(build, check=True)
    (wheel,) = folder.glob("recsys_lora-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def typed(installed: Path, folder: Path, *line: str) -> str:
    variables = {**os.environ, "PYTHONPATH": str(installed), "RECSYS_LORA_HOME": str(folder / "home")}
    done = subprocess.run(
        [sys.executable, *line], cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_wheel_holds_every_yaml_and_nothing_that_is_not_the_package(installed):
    shipped = {str(path.relative_to(installed / "recsys_lora/conf")) for path in installed.rglob("conf/**/*.yaml")}
    assert shipped == {str(path.relative_to(conf_dir())) for path in conf_dir().rglob("*.yaml")}
    assert {path.name.split("-")[0] for path in installed.iterdir()} == {"recsys_lora", "hydra_plugins"}
    (entry_points,) = installed.glob("*.dist-info/entry_points.txt")
    assert "recsys-lora = recsys_lora.cli.main:main" in entry_points.read_text()


def test_it_is_the_copy_that_runs(installed, tmp_path):
    printed = typed(installed, tmp_path, "-c", "import recsys_lora; print(recsys_lora.__file__)")
    assert Path(printed.strip()).is_relative_to(installed)


def test_it_works_from_any_folder(installed, tmp_path):
    assert "name: cora" in typed(installed, tmp_path, "-m", "recsys_lora.run", "--help", "all")
    config = yaml.safe_load(typed(installed, tmp_path, "-m", "recsys_lora.run", "--cfg", "job", "model.rank=3"))
    assert config["model"]["rank"] == 3
    named = write_tables(tmp_path, *own_tables(users=8))
    line = ("-m", "recsys_lora.run", "row=mf", "data=table", "budget=smoke", "llm=tiny", *named)
    assert "item_mean" in typed(installed, tmp_path, *line)
    assert list((tmp_path / "runs").rglob("metrics.json"))
