"""The schema refuses what the documentation rules out, and the documentation names every field."""

import copy
import json
import math
import re
from pathlib import Path
from typing import get_args

import pytest

from recsys_lora.errors import UserError
from recsys_lora.report.cost_schema import Scoring, Training
from recsys_lora.report.metrics_json import Block, Difference, Line, Metrics, SplitBlock, read_metrics, validated
from recsys_lora.report.task_schema import TaskBlock, TaskDifference, TaskLine, Value
from tests.report.examples import record

DOCS = Path(__file__).parents[2] / "docs" / "metrics_json.md"


@pytest.fixture(scope="module")
def good():
    return validated(record(draws=20))


def change(value, path, new):
    value = copy.deepcopy(value)
    *parents, last = path
    place = value
    for key in parents:
        place = place[key]
    place[last] = new
    return value


@pytest.mark.parametrize(
    ("path", "new", "message"),
    [
        (["test", "auc"], math.nan, "finite"),
        (["test", "auc"], 1.5, "less than or equal to 1"),
        (["test", "auc"], None, "null are"),
        (["test", "undefined"], {"auc": "because"}, "null are"),
        (["test", "positives"], 10**6, "positives of"),
        (["test", "warm", "rows"], 10**6, "warm and"),
        (["test", "intervals", "auc"], [0.9, 0.1], "upside down"),
        (["test", "surprise"], 1, "Extra inputs"),
        (["lines", 0, "role"], "friend", "Input should be"),
        (["schema_version"], 1, "Input should be 2"),
        (["training", "seconds"], -1.0, "greater than or equal to 0"),
        (["scoring", "rows_per_second"], math.inf, "finite"),
    ],
)
def test_what_does_not_follow_the_schema_is_refused(good, path, new, message):
    assert validated(good) == good
    with pytest.raises(ValueError, match=message):
        validated(change(good, path, new))


def test_a_file_that_is_none_of_ours_is_named(tmp_path, good):
    path = tmp_path / "metrics.json"
    with pytest.raises(UserError, match="not there"):
        read_metrics(path)
    path.write_text("{")
    with pytest.raises(UserError, match="not a JSON file"):
        read_metrics(path)
    path.write_text(json.dumps(change(good, ["test", "auc"], "high")))
    with pytest.raises(UserError, match=r"metrics\.json: test\.auc: .* not a metrics\.json of version 2"):
        read_metrics(path)


TABLES = {
    "The file": Metrics,
    "What training took": Training,
    "What scoring took": Scoring,
    "A block: metrics of some rows": Block,
    "A split block: a block and its parts": SplitBlock,
    "A line of the table": Line,
    "A difference": Difference,
    "A task block": TaskBlock,
    "A line of a task's table": TaskLine,
    "A metric of a task": Value,
    "A difference of a task": TaskDifference,
}


@pytest.mark.parametrize(("title", "model"), TABLES.items())
def test_every_field_is_documented(title, model):
    [text] = re.findall(rf"^##+ {title}\n(.*?)(?=^##|\Z)", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    documented = re.findall(r"^\| `([a-z_]+)` \|", text, flags=re.MULTILINE)
    inherited = Block.model_fields if model is SplitBlock else {}
    assert documented == [name for name in model.model_fields if name not in inherited]


def test_every_role_is_documented():
    text = DOCS.read_text(encoding="utf-8")
    documented = [re.findall(r"`([a-z_]+)`", row) for row in re.findall(r"^\| `role` \|(.*)\|$", text, re.MULTILINE)]
    schema = [get_args(model.model_fields["role"].annotation) for model in (Line, TaskLine)]
    assert [sorted(roles) for roles in documented] == [sorted(roles) for roles in schema]
