"""A run's metrics.json as flat numbers and as tables, for a sweep's file and for loggers."""

from collections.abc import Mapping
from typing import Any

Table = tuple[list[str], list[list[Any]]]
"""Columns, and lines of as many values."""


def flat_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return every metric of the method on all, warm and cold rows, and the stages' seconds.

    Keys are `auc`, `warm_auc`, `seconds/test`; of several tasks `ctr/auc`, `ctr/warm_auc`. What is undefined is None.
    """
    found: dict[str, Any] = {}
    test = metrics["test"]
    for part in ("", "warm", "cold"):
        if test is not None:
            block = test[part] if part else test
            found |= {_key(part, name): block[name] for name in ("rows", "auc", "uauc", "uauc_users", "log_loss")}
        for name, task in metrics["tasks"].items():
            own = method_line(task)[part or "metrics"]
            found |= {f"{name}/{_key(part, metric)}": value["value"] for metric, value in own.items()}
    return found | {f"seconds/{stage}": value for stage, value in metrics["seconds"].items()}


def method_line(block: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the line of a task's table that is the method on all questions."""
    line: Mapping[str, Any] = next(line for line in block["lines"] if line["role"] == "method" and not line["sample"])
    return line


def tables(metrics: Mapping[str, Any]) -> dict[str, Table]:
    """Return the lines of a run's table, or of each task's, without their intervals: `{"table" or task: Table}`."""
    if metrics["test"] is not None:
        names = ("auc", "uauc", "log_loss")
        lines = [[*_named(line), *(line["metrics"][name] for name in names)] for line in metrics["lines"]]
        return {"table": (["name", "role", "sample", *names], lines)}
    found: dict[str, Table] = {}
    for task, block in metrics["tasks"].items():
        names = tuple(method_line(block)["metrics"])
        values = [[line["metrics"].get(name, {}).get("value") for name in names] for line in block["lines"]]
        lines = [[*_named(line), *value] for line, value in zip(block["lines"], values, strict=True)]
        found[task] = (["name", "role", "sample", *names], lines)
    return found


def _named(line: Mapping[str, Any]) -> list[Any]:
    return [line["name"], line["role"], line["sample"]]


def _key(part: str, name: str) -> str:
    return f"{part}_{name}" if part else name
