"""The tables of several tasks: on the terminal, in table.md, and the sentences below."""

import io
import json

import pytest
from rich.console import Console

from recsys_lora.evaluation.warmth import WARM
from recsys_lora.report.metrics_json import read_metrics, validated
from recsys_lora.report.report import publish_tasks
from recsys_lora.report.table import number
from recsys_lora.report.task_schema import TaskBlock
from recsys_lora.report.task_table import cell, compared, markdown, notes, rich_tables, sections, warm_and_cold
from recsys_lora.tasks.record import task_record
from tests.report.examples import RUN
from tests.report.test_metrics_json import change
from tests.tasks import examples
from tests.tasks.examples import block

TASKS = ("ctr", "topk", "rating", "explanation")


def record():
    return {**RUN, "test": None, "tasks": {name: block(name) for name in TASKS}, "draws": 30, "seconds": {"test": 1.0}}


def one_class():
    """Return a record of click-through in which no metric is defined."""
    task, questions, lines = examples.ctr()
    questions.label[:] = 1.0
    warm = {"seen": examples.warmth(questions)["seen"] * 0 + WARM}
    return task_record(task, questions, lines, warm, "seen", 5)


def rendered(width: int) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width)
    for table in rich_tables(record()["tasks"]):
        console.print(table)
    return file.getvalue()


def test_what_is_published_is_read_and_printed(tmp_path, capsys):
    metrics = publish_tasks(record(), tmp_path)
    assert read_metrics(tmp_path / "metrics.json") == metrics == json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["test"] is None
    assert list(metrics["tasks"]) == list(TASKS)
    printed, text = capsys.readouterr().out, (tmp_path / "table.md").read_text()
    for name in ("popularity", "SASRec", "frozen LLM", "ckf, text alone", "ckf, users shuffled", "most_common"):
        assert name in printed
        assert name in text
    assert "NaN" not in (tmp_path / "metrics.json").read_text()


@pytest.mark.parametrize("width", [100, 120, 160])
def test_every_lines_name_can_be_read_on_a_terminal(width):
    shown = rendered(width).splitlines()
    assert max(map(len, shown)) <= width
    for name in ("global_mean", "most_common", "random", "ckf, text alone", "ckf, users shuffled"):
        assert any(name in line for line in shown)


def test_every_value_can_be_read_on_a_terminal():
    shown = rendered(160)
    for name in TASKS:
        for line in block(name)["lines"]:
            assert all(number(metric["value"]) in shown for metric in line["metrics"].values())


def test_a_metric_is_written_with_its_interval_or_as_a_dash():
    assert cell({"value": 0.70125, "interval": [0.69, 0.712], "reason": None}) == ".7013 [.690, .712]"
    assert cell({"value": 0.5, "interval": None, "reason": "none"}) == ".5000"
    assert cell({"value": None, "interval": None, "reason": "no rows"}) == "–"


def test_each_task_has_a_table_and_the_sample_one_of_its_own():
    titles = [(title, len(lines), own) for title, _, lines, own in sections(record()["tasks"])]
    assert titles == [
        ("ctr: 120 questions of 12 users", 5, [False] * 4 + [True]),
        ("ctr: 40 questions (a sample of these)", 2, [True, False]),
        ("topk: 120 questions of 12 users", 2, [False, True]),
        ("rating: 120 questions of 12 users", 2, [False, True]),
        ("explanation: 120 questions of 12 users", 2, [False, True]),
    ]


def test_markdown_has_the_numbers_of_metrics_json_in_whole_tables():
    tasks = record()["tasks"]
    text = markdown(tasks, 30).splitlines()
    columns = 0
    for line in text:
        if not line.startswith("|"):
            columns = 0
            continue
        columns = columns or line.count("|")
        assert line.count("|") == columns
    own = next(line for line in tasks["rating"]["lines"] if line["name"] == "ckf")
    values = [cell(metric) for metric in own["metrics"].values()]
    assert "| ckf | " + " | ".join(values) + " |" in text
    parts = [cell(own[part][metric]) for part in ("warm", "cold") for metric in own["metrics"]]
    assert "| ckf | " + " | ".join(parts) + " |" in text
    assert "**rating: 60 warm (seen) and 60 cold questions**" in text


def test_warm_and_cold_stand_side_by_side():
    title, columns, lines, own = warm_and_cold("ctr", block("ctr"))
    assert title == "ctr: 60 warm (seen) and 60 cold questions"
    assert columns == ["ctr", "auc warm", "uauc warm", "auc cold", "uauc cold"]
    assert [line[0] for line in lines][-1] == "ckf"  # the sample has no such table
    assert own == [False] * 4 + [True]


def test_the_method_minus_every_line_is_a_table_of_all_metrics():
    for name in TASKS:
        _, columns, lines, _ = compared(name, block(name))
        for d in block(name)["differences"]:
            [line] = [line for line in lines if line[0] == f"{d['first']} minus {d['second']}"]
            low, high = d["interval"]
            assert line[columns.index(d["metric"])] == f"{number(d['value'])} [{number(low)}, {number(high)}]"


def test_sentences_say_what_can_be_told_apart_by_the_first_metric():
    found = [sentence for sentence in notes(record()["tasks"], 30) if " minus " in sentence]
    first = {"ctr": "auc", "topk": "hr@1_of10_uniform", "rating": "mae", "explanation": "rouge_l"}
    for name in TASKS:
        for d in [d for d in block(name)["differences"] if d["metric"] == first[name]]:
            start = f"{name}: {d['first']} minus {d['second']}, {d['metric']}: "
            [sentence] = [sentence for sentence in found if sentence.startswith(start)]
            low, high = d["interval"]
            verdict = "not told apart" if low <= 0 <= high else "better" if d["better"] else "worse"
            assert sentence.endswith(f"{number(d['value'])} [{number(low)}, {number(high)}]: {verdict}")
    assert {s.rsplit(": ", 1)[1] for s in found} >= {"better", "not told apart"}
    assert len(found) == sum(d["metric"] == first[name] for name in TASKS for d in block(name)["differences"])
    assert notes(record()["tasks"], 30)[-1].startswith("intervals: 95 %, 30 bootstrap draws")


def test_an_error_that_falls_is_better():
    [sentence] = [s for s in notes({"rating": block("rating")}, 30) if " minus " in s]
    assert sentence.startswith("rating: ckf minus global_mean, mae: -")
    assert sentence.endswith(": better")


def test_an_undefined_metric_is_a_dash_with_a_reason():
    tasks = {"ctr": one_class()}
    text = markdown(tasks, 5)
    assert "| ckf | – | – |" in text
    assert "| ckf | – | – | – | – |" in text
    assert "- ctr: auc of ckf: one class only: 120 of 120 rows are positive\n" in text
    assert "- ctr: auc of ckf, cold questions: no rows\n" in text
    assert "- ctr: uauc of SASRec, warm questions: no user has rows of both classes\n" in text
    printed = notes(tasks, 5)
    assert "ctr: uauc of ckf: no user has rows of both classes" in printed
    assert not any("cold questions" in sentence for sentence in printed)  # their table is not printed


def test_bleu_s_signature_is_printed_with_it():
    for short in (True, False):
        [sentence] = [s for s in notes({"explanation": block("explanation")}, 30, short) if "bleu: " in s]
        assert "version:" in sentence


@pytest.mark.parametrize(
    ("path", "new", "message"),
    [
        (["lines", 0, "metrics", "auc", "value"], None, "needs a reason"),
        (["lines", 0, "metrics", "auc", "value"], float("nan"), "finite"),
        (["lines", 0, "cold", "auc", "interval"], [0.9, 0.1], "upside down"),
        (["lines", 0, "role"], "friend", "Input should be"),
        (["differences", 0, "surprise"], 1, "Extra inputs"),
        (["rows"], -1, "greater than or equal to 0"),
    ],
)
def test_what_does_not_follow_the_schema_is_refused(path, new, message):
    good = TaskBlock.model_validate(block("ctr")).model_dump(mode="json")
    assert TaskBlock.model_validate(good).model_dump(mode="json") == good
    with pytest.raises(ValueError, match=message):
        TaskBlock.model_validate(change(good, path, new))


def test_a_whole_record_follows_the_schema():
    assert validated(record())["tasks"]["ctr"]["sample_rows"] == len(examples.SAMPLE)
