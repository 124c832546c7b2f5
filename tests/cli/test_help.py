"""The text of --help is Hydra's own, which an extra flag makes it print."""

import pytest

from recsys_lora.cli.help import asked
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
