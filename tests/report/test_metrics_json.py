"""The schema refuses what the documentation rules out, and the documentation names every field."""

import copy
import json
import math
import re
from pathlib import Path
from typing import get_args

import pytest

from recsys_lora.report.metrics_json import read_metrics, validated
from recsys_lora.report.metrics_schema import Difference, Line, Metrics, Scoring, TaskBlock, Training, Value
from recsys_lora.utils.errors import UserError
from tests.report.examples import record

CTR = ["tasks", "ctr"]
DOCS = Path(__file__).parents[2] / "docs" / "metrics_json.md"


@pytest.fixture(scope="module")
def good():
    return validated(record())


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
        ([*CTR, "lines", 5, "metrics", "auc", "value"], math.nan, "finite"),
        ([*CTR, "lines", 0, "metrics", "auc", "value"], None, "needs a reason"),
        ([*CTR, "lines", 0, "parts", "seen", "cold", "auc", "interval"], [0.9, 0.1], "upside down"),
        ([*CTR, "positives"], 10**6, "positives of"),
        ([*CTR, "parts", "seen", "warm"], 10**6, "warm and"),
        ([*CTR, "warm_definition"], "count", "no parts by count"),
        ([*CTR, "surprise"], 1, "Extra inputs"),
        ([*CTR, "lines", 0, "role"], "friend", "Input should be"),
        ([*CTR, "lines"], [], "no line is the method"),
        ([*CTR, "scoring", "rows_per_second"], math.inf, "finite"),
        (["schema_version"], 2, "Input should be 3"),
        (["training", "seconds"], -1.0, "greater than or equal to 0"),
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
    path.write_text(json.dumps(change(good, [*CTR, "rows"], "many")))
    with pytest.raises(UserError, match=r"metrics\.json: tasks\.ctr\.rows: .* not a metrics\.json of version 3"):
        read_metrics(path)


TABLES = {
    "The file": Metrics,
    "What training took": Training,
    "A task block": TaskBlock,
    "A line of a task's table": Line,
    "A metric": Value,
    "A difference": Difference,
    "What answering took": Scoring,
}


@pytest.mark.parametrize(("title", "model"), TABLES.items())
def test_every_field_is_documented(title, model):
    [text] = re.findall(rf"^##+ {title}\n(.*?)(?=^##|\Z)", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    documented = re.findall(r"^\| `([a-z_]+)` \|", text, flags=re.MULTILINE)
    assert documented == list(model.model_fields)


def test_every_role_is_documented():
    text = DOCS.read_text(encoding="utf-8")
    [row] = re.findall(r"^\| `role` \|(.*)\|$", text, re.MULTILINE)
    assert sorted(re.findall(r"`([a-z_]+)`", row)) == sorted(get_args(Line.model_fields["role"].annotation))
