"""A run's metrics.json as flat numbers and as tables, for sweep.csv and for loggers."""

from collections.abc import Mapping
from typing import Any

from recsys_lora.report.table import method_line

Table = tuple[list[str], list[list[Any]]]
"""Columns, and lines with one value per column."""


def flat_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return every metric of the method on all, warm and cold questions, and the seconds of each stage.

    Keys are of the form `ctr/auc`, `ctr/warm_auc`, `ctr/rows`, `seconds/test`. Undefined values are None.
    """
    found: dict[str, Any] = {}
    for task, block in metrics["tasks"].items():
        own = method_line(block)
        found[f"{task}/rows"] = block["rows"]
        for metric, value in own["metrics"].items():
            found[f"{task}/{metric}"] = value["value"]
            if value["users"] is not None:
                found[f"{task}/{metric}_users"] = value["users"]
        for part, values in own["parts"][block["warm_definition"]].items():
            found |= {f"{task}/{part}_{metric}": value["value"] for metric, value in values.items()}
    return found | {f"seconds/{stage}": value for stage, value in metrics["seconds"].items()}


def tables(metrics: Mapping[str, Any]) -> dict[str, Table]:
    """Return the lines of each task's table, without intervals: `{task: Table}`."""
    found: dict[str, Table] = {}
    for task, block in metrics["tasks"].items():
        names = list(method_line(block)["metrics"])
        lines = [
            [line["name"], line["role"], line["sample"], *(line["metrics"][name]["value"] for name in names)]
            for line in block["lines"]
        ]
        found[task] = (["name", "role", "sample", *names], lines)
    return found
