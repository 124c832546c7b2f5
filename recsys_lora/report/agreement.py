"""Whether a run's predictions are those that its metrics.json was made of; both are files that anybody can change."""

import polars as pl

from recsys_lora.report.runs import Run
from recsys_lora.report.table import method_line
from recsys_lora.tasks.predictions import output_of, questions_of
from recsys_lora.tasks.task import Task
from recsys_lora.utils.errors import UserError

TOLERANCE = 1e-4
"""Of a metric, and of its size where that is above 1: versions of libraries differ by less, tables show no more."""


def refuse_contradiction(run: Run, name: str, table: pl.DataFrame, task: Task) -> None:
    """Compute the method's metrics anew and compare them with what the run says.

    Args:
        run: the run.
        name: of the task.
        table: its predictions, in any order.
        task: the task.

    Raises:
        UserError: a metric is another one.
    """
    block = run.metrics["tasks"][name]
    said = method_line(block)["metrics"]
    path = run.predictions(name)
    if len(table) != block["rows"]:
        raise UserError(_contradicts(path, "number of rows", len(table), block["rows"]))
    for statistic in task.metrics(questions_of(table), output_of(table)):
        if statistic.name not in said:
            continue
        found, told = statistic.value(), said[statistic.name]["value"]
        alike = found is None if told is None else found is not None and _close(found, told)
        if not alike:
            raise UserError(_contradicts(path, statistic.name, found, told))


def _close(found: float, told: float) -> bool:
    return abs(found - told) <= TOLERANCE * max(1.0, abs(told))


def _contradicts(path: object, what: str, found: object, told: object) -> str:
    return (
        f"{path}: its {what} is {found}, metrics.json beside it says {told}: one of them has been changed: run it "
        "again, or leave this run out"
    )
