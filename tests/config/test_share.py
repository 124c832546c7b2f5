"""The yaml files say each thing once: how many of their lines stand in three files or more."""

from collections import defaultdict
from pathlib import Path

from recsys_lora.config.paths import conf_dir

MOST_FILES = 112
MOST_SHARED = 0.15
IN_FILES = 3


def shared(root: Path, comments: bool) -> tuple[int, int]:
    """Return how many lines there are, without blank ones and indentation, and how many stand in three files or more.

    Args:
        root: the folder.
        comments: count comment lines, too.
    """
    files, places = [], defaultdict(set)
    for path in root.rglob("*.yaml"):
        lines = [line.strip() for line in path.read_text().splitlines()]
        files.append([line for line in lines if line and (comments or not line.startswith("#"))])
        for line in files[-1]:
            places[line].add(path)
    counted = [line for lines in files for line in lines]
    return len(counted), sum(len(places[line]) >= IN_FILES for line in counted)


def test_few_lines_stand_in_three_files_or_more():
    for comments in (True, False):
        lines, repeated = shared(conf_dir(), comments)
        assert repeated < MOST_SHARED * lines, f"{repeated} of {lines} lines, comments counted: {comments}"


def test_there_are_not_too_many_files():
    assert len(list(conf_dir().rglob("*.yaml"))) <= MOST_FILES


def test_lines_are_counted_by_the_files_they_stand_in(tmp_path):
    for name, text in {"a": "x: 1\n\n# note\n", "b": "  x: 1\nx: 1\ny: 2\n", "c": "x: 1\n# note\n"}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    assert shared(tmp_path, comments=False) == (5, 4)
    assert shared(tmp_path, comments=True) == (7, 4)
