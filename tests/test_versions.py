"""What `make test-oldest` tries is what pyproject.toml allows."""

import re
import tomllib
from pathlib import Path

LATER = re.compile(r"^#|python_version >= '3\.13'")
"""Remarks, and what has no older wheel for a later Python."""
ROOT = Path(__file__).parents[1]


def test_the_oldest_versions_are_the_lower_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lower = dict(re.match(r"([\w.-]+)>=([\d.]+)", line).groups() for line in project["dependencies"])
    lines = (ROOT / "tests" / "oldest.txt").read_text(encoding="utf-8").splitlines()
    tried = dict(re.match(r"([\w.-]+)==([\d.]+)", line).groups() for line in lines if not LATER.search(line))
    assert tried.keys() == lower.keys() - {"torch"}
    assert {name: padded(version) for name, version in tried.items()} == {name: padded(lower[name]) for name in tried}


def padded(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in version.split(".")]
    return (*numbers, *[0] * (3 - len(numbers)))
