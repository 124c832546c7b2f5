"""Every yaml composes, says what it is for, and calls what exists with arguments it takes."""

import json
import re
from pathlib import Path

import pytest

from recsys_lora.config.check import check, mismatches
from recsys_lora.config.paths import GROUPS, conf_dir, options
from recsys_lora.utils.errors import UserError
from tests.jobs import resolved

FILES = sorted(conf_dir().rglob("*.yaml"))
CHOICES = [(group, option) for group in GROUPS for option in options(group)]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(conf_dir())))
def test_a_yaml_opens_with_its_purpose_and_a_command(path: Path):
    comments = [line for line in path.read_text().splitlines() if line.startswith("#") and "@package" not in line]
    assert len(comments) >= 2
    assert any("python -m recsys_lora." in line or "make " in line for line in comments), "no command"


@pytest.mark.parametrize(("group", "option"), CHOICES, ids=lambda v: v)
def test_every_choice_composes_and_fits_the_signatures_it_ends_in(group, option):
    file = conf_dir() / group / f"{option}.yaml"
    own = file.read_text() if file.is_file() else ""
    model = re.search(r"#   python -m recsys_lora\.run .*?(model=\w+)", own)
    needed = [model.group(1)] if model and group != "model" else []  # what the file's own command runs it with
    if group == "ablation" and not own:
        needed = [f"model={option.split('_')[0]}"]
    config = resolved(*needed, f"{group}={option}")
    assert json.dumps(check(config)) == json.dumps(config)  # floats are written as floats: 4.0, not 4


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("model.rank=abc", "model.rank=abc"),
        ("model.rank=0", "model.rank=0"),
        ("model.score=maybe", "model.score=maybe"),
        ("seed=-1", "seed=-1"),
        ("+model.rnk=3", "takes no such argument: did you mean rank"),
        ("data.train_rows=many", "data.train_rows=many"),
        ("stage.force=[everything]", "stage.force"),
        ("trainer.max_steps=few", "trainer.max_steps=few"),
    ],
)
def test_a_value_of_the_wrong_type_range_or_choice_is_named(override, reason):
    with pytest.raises(UserError, match=reason.replace("[", r"\[")):
        check(resolved(override))


def test_all_mismatches_are_reported_at_once():
    found = mismatches(resolved("model.rank=0", "seed=-1", "model.score=maybe"))
    assert len(found) == 3
