import json
from dataclasses import replace

import numpy as np
import pytest

from recsys_lora.report.metrics_json import read_metrics
from recsys_lora.report.report import Scored, build, publish
from recsys_lora.report.table import markdown, number
from tests.evaluation.examples import predictions
from tests.report.examples import RUN, record


def test_what_is_published_is_read_and_printed(tmp_path, capsys):
    metrics = publish(record(), tmp_path)
    assert read_metrics(tmp_path / "metrics.json") == metrics == json.loads((tmp_path / "metrics.json").read_text())
    test = metrics["test"]
    for part in (test, test["warm"], test["cold"]):
        assert part.keys() >= {"auc", "uauc", "uauc_users", "rows"}
    printed = capsys.readouterr().out
    for name in ("item popularity", "SASRec", "frozen LLM", "CoRA, users shuffled", "on a sample of 200"):
        assert name in printed
        assert name in (tmp_path / "table.md").read_text()


def test_the_method_is_measured_on_the_sample_of_the_shuffled_line():
    metrics = record()
    on_sample = [line for line in metrics["lines"] if line["sample"]]
    assert [line["role"] for line in on_sample] == ["method", "method_shuffled"]
    assert {line["metrics"]["rows"] for line in on_sample} == {200} == {metrics["sample"]["rows"]}
    assert on_sample[0]["metrics"]["auc"] > on_sample[1]["metrics"]["auc"]
    pairs = {(d["first"], d["second"], d["metric"]) for d in metrics["differences"]}
    assert pairs == {("CoRA", other, m) for other in ("SASRec", "CoRA, users shuffled") for m in ("auc", "uauc")}


def test_lines_stand_in_the_tables_order_whatever_order_they_were_scored_in():
    pred = predictions()
    scored = [Scored("c", "method", pred), Scored("b", "frozen_llm", pred), Scored("a", "popularity", pred)]
    assert [line["name"] for line in build(RUN, scored, draws=0)["lines"]] == ["a", "b", "c"]


def test_markdown_has_a_row_a_line_and_the_numbers_of_metrics_json():
    metrics = record()
    lines = markdown(metrics).splitlines()
    rows = [line for line in lines if line.startswith("| CoRA |")]
    assert len(rows) == 2
    low, high = metrics["test"]["intervals"]["auc"]
    assert f"{number(metrics['test']['auc'])} [{number(low, 3)}, {number(high, 3)}]" in rows[0]
    assert all(line.count("|") == 7 for line in lines if line.startswith("|"))
    assert any("CoRA minus SASRec, AUC: " in line for line in lines)


def test_a_model_alone_has_a_table_too():
    metrics = build(RUN | {"cf": None, "llm": None}, [Scored("MF", "method", predictions())], draws=0)
    assert metrics["sample"] is None
    assert metrics["differences"] == []
    assert "sample" not in markdown(metrics)


def test_an_undefined_metric_is_a_dash_with_a_reason(tmp_path):
    pred = predictions(rows=90)
    one_class = replace(pred, label=np.where(pred.warm["seen"] == 0, 1, pred.label).astype(np.int8))
    metrics = publish(build(RUN, [Scored("CoRA", "method", one_class)], draws=10), tmp_path)
    assert metrics["test"]["cold"]["auc"] is None
    text = (tmp_path / "table.md").read_text()
    assert "| –, – |" in text
    assert "auc of cold rows: one class only" in text
    assert "NaN" not in (tmp_path / "metrics.json").read_text()


def test_lines_about_other_rows_are_refused():
    pred = predictions()
    with pytest.raises(ValueError, match="same rows"):
        build(RUN, [Scored("a", "cf", pred.take(np.arange(9))), Scored("b", "method", pred)])
    with pytest.raises(ValueError, match="one line that is the method"):
        build(RUN, [Scored("a", "cf", pred)])


@pytest.mark.parametrize(
    ("value", "text"), [(0.70125, ".7013"), (-0.01, "-.0100"), (1.0, "1.0000"), (10.5, "10.5000"), (0.0, ".0000")]
)
def test_numbers_are_short(value, text):
    assert number(value) == text
