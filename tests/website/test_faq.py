"""The lines of docs/faq.md are what the program says."""

import ast
import re
import shlex
from functools import cache

import pytest

from tests.copies import typed
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


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What each command is answered with."""
    lines = [shlex.split(command.removeprefix("$ recsys-lora ")) for command, *_ in TYPED]
    return typed([(tmp_path_factory.mktemp("typed"), line) for line in lines], ["recsys_lora.pipeline.job"])


@pytest.mark.parametrize("number", range(len(TYPED)), ids=[command for command, *_ in TYPED])
def test_a_command_prints_the_line_below_it(answers, number):
    done, (_, *said) = answers[number], TYPED[number]
    assert done.returncode == 2
    assert done.stderr.splitlines() == said
