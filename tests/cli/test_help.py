"""--help is one screen; with `all` or overrides it is Hydra's own text, which an extra flag makes it print."""

import pytest

from recsys_lora.cli.help import asked, text
from recsys_lora.config.paths import GROUPS, options
from tests.cli.test_launch import command


def test_the_text_is_hydras(tmp_path):
    (tmp_path / "empty").mkdir()
    ours, _ = command(tmp_path, "--help", "model=tallrec", "seed=7")
    theirs, _ = command(tmp_path, "--help", "model=tallrec", "seed=7", "--config-dir", str(tmp_path / "empty"))
    assert "seed: 7" in ours
    assert ours.rstrip() == theirs.rsplit("status 0", 1)[0].rstrip()  # Hydra's own way ends in an exit


def test_a_wrong_override_beside_it_is_one_line(tmp_path):
    _, err = command(tmp_path, "--help", "model=coar")
    assert err.strip() == "error: model=coar: no such option: did you mean cora?"


@pytest.mark.parametrize(("config", "about"), [("config", "run"), ("prepare", "prepare"), ("config", "tune")])
def test_a_command_s_help_fits_one_screen(config, about):
    lines = text(config, about, ["--help"]).splitlines()
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 80
    assert any(f"recsys-lora {about}" in line for line in lines[:3])
    groups = {line.split()[0] for line in lines if line}
    assert ("model" in groups) == (config == "config")
    assert "data" in groups


def test_every_group_with_a_choice_has_a_line_and_every_key_its_comment():
    lines = text("config", "run", ["-h"]).splitlines()
    begun = {line.split()[0]: line for line in lines if line}
    for group in GROUPS:
        if group not in ("callbacks", "paths"):  # of one choice each
            assert all(part in options(group) for part in begun[group].split(", ")[1:-1]), group
    assert begun["seed=1"].endswith("Seed of initialisation, order of batches and dropout")
    assert "29" not in begun["ablation"].split()[1]
    number = int(begun["ablation"].rsplit("... ", 1)[1].split()[0])
    assert number + len(begun["ablation"].split(", ")) - 1 == len(options("ablation"))


def test_all_of_prepare_lists_its_own_groups_alone():
    whole = text("prepare", "prepare", ["--help", "all"])
    assert "data: amazon" in whole
    assert "model: " not in whole


@pytest.mark.parametrize(
    ("arguments", "own"),
    [
        (["--help"], True),
        (["-h", "row=mf"], True),
        (["row=mf"], False),
        (["--hydra-help"], False),
        (["--help", "--config-dir", "folder"], False),
        (["--help", "--config-dir=folder"], False),
        (["--help", "hydra.searchpath=[file://folder]"], False),
        (["--help", "--cfg", "job"], False),
    ],
)
def test_what_needs_more_than_conf_is_left_to_hydra(arguments, own):
    assert asked(arguments) is own
