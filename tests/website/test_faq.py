"""The lines of docs/faq.md are what the program says."""

import ast
import re
import shlex
import subprocess
import sys
from functools import cache

import pytest

from tests.documents import FENCE, ROOT

PAGE = ROOT / "docs" / "faq.md"
BLOCKS = FENCE.findall(PAGE.read_text())
TYPED = [body.splitlines() for _, body in BLOCKS if body.startswith("$ ")]
QUOTED = [body.strip() for _, body in BLOCKS if not body.startswith("$ ")]
FEWEST = 25
"""Letters that a message has to say by itself to be recognised."""


@cache
def messages() -> list[re.Pattern[str]]:
    """Return what the program raises, with anything in the places of values."""
    found = []
    for path in sorted((ROOT / "recsys_lora").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                found += [written(argument) for argument in node.exc.args]
    return [re.compile(pattern) for pattern in found if pattern]


def written(node: ast.expr) -> str:
    """Return a pattern of a text; "" where it is none, or says too little by itself."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    fixed = [part.value if isinstance(part, ast.Constant) else None for part in parts]
    said = sum(len(text) for text in fixed if isinstance(text, str))
    return "".join(".*" if text is None else re.escape(str(text)) for text in fixed) if said >= FEWEST else ""


def test_the_page_has_examples_of_both_kinds():
    assert len(TYPED) >= 6
    assert len(QUOTED) >= 20


@pytest.mark.parametrize("quoted", QUOTED, ids=lambda quoted: quoted[:50])
def test_a_quoted_line_is_raised_somewhere(quoted):
    assert any(pattern.fullmatch(quoted) for pattern in messages()), f"nothing raises: {quoted}"


def test_a_line_that_nothing_raises_is_found():
    assert not any(pattern.fullmatch("data=shop: the moon is in the wrong house: wait") for pattern in messages())


@pytest.mark.parametrize("block", TYPED, ids=lambda block: block[0])
def test_a_command_prints_the_line_below_it(tmp_path, block):
    command, said = block[0].removeprefix("$ recsys-lora "), block[1:]
    line = [sys.executable, "-m", "recsys_lora", *shlex.split(command)]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == said
