"""Every command that README and docs show is run, at a smoke budget, from an empty folder."""

import math
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir

from recsys_lora.config.paths import conf_dir, options
from recsys_lora.report.metrics_json import read_metrics
from tests.documents import FENCE, ROOT, Command, documents, fenced, parsed, single
from tests.jobs import own_tables, write_tables

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(900)]
COMMANDS = list(dict.fromkeys(command for path in documents() for command in fenced(path) if command.ours))
DROPPED = ("llm=", "llm.", "budget=", "trainer=")
ADDED = {
    "adding_a_method.md": ("text_lora", "model/text_lora"),
    "adding_a_cf_encoder.md": ("biased_mf", "cf/biased_mf"),
    "adding_a_dataset.md": ("shop", "data/shop"),
    "adding_a_task.md": ("full_marks", "task/full_marks"),
}
"""What a page adds: its module, and its config."""
HERE = ("ratings.csv", "items.csv")
FILE = re.compile(r"(?:interactions|items|users|reviews|meta)=\S+\.\w+$")
"""An argument that names a person's own file."""
SMOKE = ("llm=tiny", "budget=smoke", "evaluation.draws=20")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An empty folder with a person's own tables, and the packages of the pages that add something."""
    folder = tmp_path_factory.mktemp("readme")
    write_tables(folder, *own_tables())
    orders = [f"c{n % 20},s{n * n % 97},2024-01-{n % 27 + 1:02d}" for n in range(400)]
    (folder / "orders.csv").write_text("\n".join(["customer,sku,ordered", *orders]))
    for page, (module, config) in ADDED.items():
        blocks = FENCE.findall((ROOT / "docs" / page).read_text())
        for language, path in (("python", f"my_package/{module}.py"), ("yaml", f"my_conf/{config}.yaml")):
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(next(body for named, body in blocks if named == language))
    return folder


def typed(folder: Path, line: list[str]) -> str:
    """Run a command line; returns what it printed."""
    variables = {**os.environ, "RECSYS_LORA_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)}  # this checkout
    done = subprocess.run(line, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{shlex.join(line)}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def shortened(command: Command) -> list[str]:
    """Return the command at a smoke budget; only its config where it names files that are not here."""
    config, arguments = command.ours
    program = [sys.executable, "-m", f"recsys_lora.{'prepare' if config == 'prepare' else 'run'}"]
    if "--help" in arguments:
        return [*program, *arguments]
    if config == "config":
        here = "logger.wandb.mode=offline" in arguments  # another service's logger needs an account or an extra
        dropped = DROPPED if here else (*DROPPED, "logger=")
        arguments = [*(a for a in arguments if not a.startswith(dropped)), *SMOKE, *short_sweep(arguments)]
    if "data=ml_1m" in arguments and not any(a.startswith("data.root=") for a in arguments):
        if not (raw := os.environ.get("RECSYS_LORA_TEST_DATA")):
            pytest.skip("RECSYS_LORA_TEST_DATA names no folder of raw files")
        arguments.append(f"data.root={Path(raw) / 'ml-1m'}")
    if any(names_a_file_of_ones_own(argument) for argument in arguments):
        arguments = [*single(arguments), "--cfg", "job"]
    return [*program, *arguments]


def names_a_file_of_ones_own(argument: str) -> bool:
    """Tell whether an argument names a file or folder that is not here: a placeholder, a path, somebody's table."""
    if "TEST_DATA" in argument or argument.startswith("data.root=/"):
        return False
    if re.search(r"=([A-Z]+|/.*)$", argument):
        return True
    return bool(FILE.search(argument)) and argument.partition("=")[2] not in HERE


def short_sweep(arguments: list[str]) -> list[str]:
    """Return what cuts an experiment that is a sweep down to the first and last choice of what is not given."""
    experiment = next((a.partition("=")[2] for a in arguments if a.startswith("experiment=")), None)
    params = sweep_of(f"experiment={experiment}") if experiment else {}
    given = {argument.partition("=")[0] for argument in arguments}
    choices = {key: choices_of(f"{key}={value}") for key, value in params.items() if key not in given}
    return [f"{key}={found[0]},{found[-1]}" for key, found in choices.items()]


def sweep_of(*overrides: str) -> dict[str, str]:
    """Return what a command varies by itself: the parameters of Hydra's sweeper, comma-separated."""
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        params = compose("config", list(overrides), return_hydra_config=True).hydra.sweeper.params
    return {str(key): str(value) for key, value in (params or {}).items()}


def choices_of(override: str) -> list[str]:
    """Return what a sweep over one override tries; one value where it is no sweep."""
    [found] = parsed([override])
    return list(found.sweep_string_iterator()) if found.is_sweep_override() else [override]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.place} {command.text[21:60]}")
def test_a_command_does_what_it_says(place, command):
    before = set(place.glob("runs/**/metrics.json"))
    line = shortened(command)
    printed = typed(place, line)
    if "--help" in line:
        assert ("name: cora" in printed) == ("all" in line)  # the default config
        assert options("model")[0] in printed
    elif "--cfg" not in line and command.ours[0] == "config":
        new = set(place.glob("runs/**/metrics.json")) - before
        jobs = math.prod(len(choices_of(argument)) for argument in line if re.match(r"[a-z_.@/]+=", argument))
        assert len(new) == jobs
        for path in new:
            metrics = read_metrics(path)
            tables = list(metrics["tasks"].values())
            assert tables
            assert all(table["rows"] > 0 for table in tables)
            assert yaml.safe_load((path.parent / "config.yaml").read_text())["paths"]["run"] == str(path.parent)
        assert "results are in" in printed
    elif command.ours[0] == "prepare":
        assert "users" in printed
