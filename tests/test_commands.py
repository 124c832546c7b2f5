"""What README, docs and yaml files tell people to type can be typed."""

import importlib
import re

import pytest

from recsys_lora.cli.settings import read
from recsys_lora.config.check import mismatches
from recsys_lora.config.hints import explain
from recsys_lora.config.paths import GROUPS, conf_dir, options
from recsys_lora.utils.errors import UserError
from tests.documents import ROOT, Command, documents, fenced, inline, of_yaml, single
from tests.jobs import resolved

WRONG_ON_PURPOSE = {"model.rank=abc"}
WRITTEN = [
    command
    for path in documents()
    for command in (*fenced(path), *inline(path))
    if not any(wrong in command.text for wrong in WRONG_ON_PURPOSE) and "NAME" not in command.text.split("=")
]
IN_YAML = [command for path in sorted(conf_dir().rglob("*.yaml")) for command in of_yaml(path)]
NEEDED = {"run": "folder", "out": "file.csv", "to": "peft"}
OTHERS = re.compile(
    r"python -m recsys_lora\.compare |recsys-lora (recommend|export|serve|mcp|runs|report|compare)\b|"
    r"\. \.venv/bin/activate$|python -m tests\.on_device |make |"
    r"pip install|python3 -m venv|python benchmarks/|git clone|cd |export |rm -r |tar "
)


def complaints(commands: list[Command]) -> list[str]:
    """Return a line for each command that does not compose or whose values do not fit; each override set once."""
    lines, seen = [], set()
    for command in commands:
        if command.ours is None or "--config-dir" in command.text:
            continue
        config, arguments = command.ours
        overrides = single(arguments)
        if (config, *overrides) in seen:
            continue
        seen.add((config, *overrides))
        if (found := complaint(overrides, config)) and not (command.bare and fits_somewhere(overrides, arguments)):
            lines.append(f"{command.place}: {command.text}: {found}")
    return lines


def fits_somewhere(overrides: list[str], arguments: list[str]) -> bool:
    """Tell whether overrides that stand in a sentence fit where that sentence may mean."""
    contexts = (
        (["data=table", *overrides], "config"),
        (overrides, "prepare"),
        ([f"model.generator.{override}" for override in overrides], "config"),
        ([f"model.{override}" for override in overrides], "config"),
        *(([f"model={model}", *overrides], "config") for model in options("model")),
    )
    return is_of_another_verb(arguments) or any(complaint(*context) is None for context in contexts)


def is_of_another_verb(arguments: list[str]) -> bool:
    """Tell whether these are settings of a verb that Hydra does not compose, with values that it takes."""
    for verb in ("recommend", "export", "serve", "mcp"):
        kind = importlib.import_module(f"recsys_lora.cli.{verb}").Settings
        given = {argument.partition("=")[0] for argument in arguments}
        needed = [f"{name}={value}" for name, value in NEEDED.items() if name not in given]
        try:
            read(verb, kind, [*arguments, *(one for one in needed if one.partition("=")[0] in kind.model_fields)])
        except UserError:
            continue
        return True
    return False


def complaint(overrides: list[str], config: str) -> str | None:
    try:
        found = mismatches(resolved(*overrides, config=config))
    except Exception as error:
        return explain(error) or repr(error)
    return "; ".join(found) or None


@pytest.mark.slow
def test_commands_of_readme_and_docs_compose():
    assert len(WRITTEN) > 10
    assert not (found := complaints(WRITTEN)), "\n".join(found)


@pytest.mark.slow
def test_commands_of_yaml_files_compose():
    assert len(IN_YAML) > 40
    assert not (found := complaints(IN_YAML)), "\n".join(found)


def test_other_commands_are_of_a_known_kind_and_what_they_name_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for command in WRITTEN:
        if command.ours:
            continue
        assert OTHERS.match(command.text), f"{command.place}: {command.text}: a kind of command no test knows"
        if command.text.startswith("make "):
            assert command.text.split()[1] in targets, f"{command.place}: no such target"
        for named in re.findall(r"benchmarks/\w+\.py", command.text):
            assert (ROOT / named).is_file(), f"{command.place}: {named} is not there"


def test_the_table_of_groups_names_every_choice():
    rows = re.findall(r"^\| `(\w+)` \| [^|]* \| ([^|]*) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    named = {group: set(re.findall(r"`(\w+)`", choices)) for group, choices in rows if group in GROUPS}
    assert len(named) >= 6
    for group, choices in named.items():
        assert choices == set(options(group)), group


def test_files_that_documents_link_to_exist():
    for path in documents():
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"
        for named in re.findall(r"`((?:tests|conf|recsys_lora|docs|benchmarks)/[\w./]+)`", path.read_text()):
            assert (ROOT / named).exists() or (ROOT / "recsys_lora" / named).exists(), f"{path.name} names {named}"
