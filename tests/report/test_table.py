"""The tables at the end of a run: on the terminal, in table.md, and the sentences below."""

import copy
import io
import json

import pytest
from rich.console import Console

from recsys_lora.evaluation.warm_cold import WARM
from recsys_lora.report.metrics_json import read_metrics
from recsys_lora.report.metrics_schema import TaskBlock
from recsys_lora.report.screen import on_terminal, publish
from recsys_lora.report.table import (
    cell,
    compared,
    grids,
    markdown,
    method_line,
    notes,
    number,
    shown,
    warm_and_cold,
)
from recsys_lora.tasks.record import task_record
from tests.report.examples import TASKS, record
from tests.tasks import examples
from tests.tasks.examples import block


def one_class():
    """Return a record of click-through in which no metric is defined."""
    task, questions, lines = examples.ctr()
    questions.label[:] = 1.0
    warm = {"seen": examples.warm(questions)["seen"] * 0 + WARM}
    return task_record(task, questions, lines, warm, "seen", 5)


def rendered(width: int) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width)
    for table in on_terminal(record()["tasks"], "a run", width):
        console.print(table)
    return file.getvalue()


def test_what_is_published_is_read_and_printed(tmp_path, capsys):
    metrics = publish(record(), tmp_path)
    assert read_metrics(tmp_path / "metrics.json") == metrics == json.loads((tmp_path / "metrics.json").read_text())
    assert list(metrics["tasks"]) == list(TASKS)
    printed, text = capsys.readouterr().out, (tmp_path / "table.md").read_text()
    for name in ("popularity", "SASRec", "frozen LLM", "ckf, text alone", "ckf, users shuffled", "most_common"):
        assert name in printed
        assert name in text
    assert "NaN" not in (tmp_path / "metrics.json").read_text()


@pytest.mark.parametrize("width", [60, 80, 120, 180])
def test_every_lines_name_and_every_value_can_be_read_on_a_terminal(width):
    text = rendered(width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for name in TASKS:
        for line in block(name)["lines"]:
            assert f"│ {line['name']} " in text
            assert all(number(metric["value"]) in text for metric in line["metrics"].values())


def test_a_metric_is_written_with_its_interval_or_as_a_dash():
    assert cell({"value": 0.70125, "interval": [0.69, 0.712], "reason": None}) == ".7013 [.690, .712]"
    assert cell({"value": 0.5, "interval": None, "reason": "none"}) == ".5000"
    assert cell({"value": None, "interval": None, "reason": "no rows"}) == "–"


def test_each_task_has_a_table_and_the_sample_one_of_its_own():
    titles = [(grid.title, len(grid.cells), grid.own) for grid in grids(record()["tasks"], "a run")]
    assert titles == [
        ("a run: ctr, 120 questions (12 users)", 5, [False] * 4 + [True]),
        ("a run: ctr, 40 questions (a sample of these)", 2, [True, False]),
        ("a run: topk, 120 questions (12 users)", 2, [False, True]),
        ("a run: rating, 120 questions (12 users)", 2, [False, True]),
        ("a run: explanation, 120 questions (12 users)", 2, [False, True]),
    ]


def test_the_first_two_metrics_of_warm_and_cold_questions_stand_beside_all():
    first = next(grids(record()["tasks"], "a run"))
    assert first.columns == [
        *("ctr", "AUC", "UAUC (12 users)", "log loss"),
        *("warm AUC, UAUC (seen, 60)", "cold AUC, UAUC (60)"),
    ]
    parts = block("ctr")["lines"][4]["parts"]["seen"]
    expected = [", ".join(number(parts[part][name]["value"]) for name in ("auc", "uauc")) for part in ("warm", "cold")]
    assert first.cells[4][-2:] == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [("auc", "AUC"), ("uauc_neg4", "UAUC_neg4"), ("log_loss", "log loss"), ("hr@1_of10_uniform", "hr@1_of10_uniform")],
)
def test_metrics_are_named_as_the_field_names_them(name, text):
    assert shown(name) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.70125, ".7013"), (-0.01, "-.0100"), (1.0, "1.0000"), (10.5, "10.5000"), (-0.00002, ".0000")]
)
def test_numbers_are_short(value, text):
    assert number(value) == text


def test_markdown_has_the_numbers_of_metrics_json_in_whole_tables():
    tasks = record()["tasks"]
    text = markdown(tasks, 30, "a run").splitlines()
    columns = 0
    for line in text:
        if not line.startswith("|"):
            columns = 0
            continue
        columns = columns or line.count("|")
        assert line.count("|") == columns
    own = next(line for line in tasks["rating"]["lines"] if line["name"] == "ckf")
    values = [cell(metric) for metric in own["metrics"].values()]
    assert any(line.startswith("| ckf | " + " | ".join(values) + " |") for line in text)
    parts = [cell(own["parts"]["seen"][part][metric]) for part in ("warm", "cold") for metric in own["metrics"]]
    assert "| ckf | " + " | ".join(parts) + " |" in text
    assert "**rating: 60 warm (seen) and 60 cold questions**" in text


def test_warm_and_cold_stand_side_by_side():
    grid = warm_and_cold("ctr", block("ctr"))
    assert grid.title == "ctr: 60 warm (seen) and 60 cold questions"
    assert grid.columns == [
        *("ctr", "AUC warm", "UAUC warm", "log loss warm", "AUC cold", "UAUC cold", "log loss cold")
    ]
    assert [line[0] for line in grid.cells][-1] == "ckf"  # the sample has no such table
    assert grid.own == [False] * 4 + [True]


def test_the_method_minus_every_line_is_a_table_of_all_metrics():
    verdicts = set()
    for name in TASKS:
        grid = compared(name, block(name))
        for d in block(name)["differences"]:
            [line] = [line for line in grid.cells if line[0] == f"{d['first']} minus {d['second']}"]
            low, high = d["interval"]
            verdict = "" if low <= 0 <= high else " better" if d["better"] else " worse"
            verdicts.add(verdict)
            found = line[grid.columns.index(shown(d["metric"]))]
            assert found == f"{number(d['value'])} [{number(low)}, {number(high)}]{verdict}"
    assert {"", " better"} <= verdicts


def test_the_terminal_compares_by_the_main_metrics():
    for name in TASKS:
        whole, brief = compared(name, block(name)), compared(name, block(name), brief=True)
        assert brief.columns == whole.columns[:3]
        assert [line[0] for line in brief.cells] == [line[0] for line in whole.cells]
    text = rendered(120)
    assert "ctr: ckf" in text
    assert "│ minus popularity " in text
    assert notes(record()["tasks"], 30)[-1].startswith("intervals: 95 %, 30 bootstrap draws")


def test_only_the_main_metrics_of_the_terminal_have_intervals():
    whole, brief = (next(grids(record()["tasks"], "a run", short)) for short in (False, True))
    assert [cells[:3] for cells in whole.cells] == [cells[:3] for cells in brief.cells]
    assert all("[" not in cells[3] for cells in brief.cells)


def test_the_terminal_has_no_columns_of_warm_questions_where_all_are_cold():
    tasks = copy.deepcopy(record()["tasks"])
    tasks["ctr"]["parts"]["seen"]["warm"] = 0
    assert next(grids(tasks, "a run", brief=True)).columns == ["ctr", "AUC", "UAUC (12 users)", "log loss"]
    assert len(next(grids(tasks, "a run")).columns) == 6


def test_an_undefined_metric_is_a_dash_with_a_reason():
    tasks = {"ctr": one_class()}
    TaskBlock.model_validate(tasks["ctr"])
    text = markdown(tasks, 5, "a run")
    assert "| ckf | – | – |" in text
    assert "- ctr: AUC: one class only: 120 of 120 rows are positive\n" in text  # of all lines: once
    assert "- ctr: AUC, UAUC, log loss of cold questions: no rows\n" in text
    assert "- ctr: UAUC of warm questions: no user has rows of both classes\n" in text
    printed = notes(tasks, 5)
    assert "ctr: UAUC: no user has rows of both classes" in printed
    assert not any("cold questions" in sentence for sentence in printed)  # their table is not printed


def test_a_reason_of_some_lines_names_them():
    tasks = {"ctr": record("ctr")["tasks"]["ctr"]}
    tasks["ctr"]["lines"][1]["metrics"]["auc"] = {"value": None, "interval": None, "reason": "why", "users": None}
    assert "ctr: AUC (SASRec): why" in notes(tasks, 30)


def test_bleu_s_signature_is_printed_with_it():
    for short in (True, False):
        [sentence] = [s for s in notes({"explanation": block("explanation")}, 30, short) if "bleu: " in s]
        assert "version:" in sentence


def test_stacks_and_the_noise_of_the_methods_metrics_are_told():
    found = copy.deepcopy(block("ctr"))
    found["stacks"] = {"stack with ckf": {"rows": 1200, "weights": {"item_mean": 0.534, "ckf": -0.051}}}
    said = notes({"ctr": found}, 30)
    assert ("ctr: stack with ckf, fitted on 1,200 validation questions, weights: item_mean .53, ckf -.05") in said
    metrics = method_line(found)["metrics"]
    [noise] = [sentence for sentence in said if "standard error" in sentence]
    for metric, name in (("auc", "AUC"), ("uauc", "UAUC")):
        assert f"{name} {number(metrics[metric]['standard_error'])}" in noise
    for metric in metrics.values():
        metric["standard_error"] = None
    assert not [sentence for sentence in notes({"ctr": found}, 30) if "standard error" in sentence]
