"""Runs become the rows of one table: one a configuration, over its seeds, all tested on the same rows."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import polars as pl

from recsys_lora.evaluation.bootstrap import Statistic
from recsys_lora.evaluation.warm_cold import Definition
from recsys_lora.report.against import against
from recsys_lora.report.agreement import refuse_contradiction
from recsys_lora.report.comparison_schema import Comparison, Cost, Number, Row, TaskRow, TestSet
from recsys_lora.report.labels import Named, named
from recsys_lora.report.provenance import run_record
from recsys_lora.report.published import published
from recsys_lora.report.runs import Run, folder_name, read_finished
from recsys_lora.report.same_rows import read_sorted, refuse_other_rows
from recsys_lora.report.table import method_line
from recsys_lora.tasks.predictions import output_of, questions_of
from recsys_lora.tasks.task import CTR, Task
from recsys_lora.utils.errors import UserError

TaskOf = Callable[[Mapping[str, Any], str], Task]
"""Makes a run's task, given the run's config and the task's name."""


def compare(
    paths: Sequence[Path],
    command: str,
    task_of: TaskOf,
    baseline: str | None = None,
    draws: int = 1000,
    warm: Definition = "seen",
) -> Comparison:
    """Compare finished runs; the record names those of the folders that have no results.

    Args:
        paths: run folders, or folders that hold runs.
        command: what asks for it, for the record.
        task_of: makes the tasks, which recompute metrics: to check those of metrics.json, and for the differences.
        baseline: label of the row that the others are compared with, or the folder of one of its runs; None leaves
            tests out.
        draws: bootstrap draws over users for the intervals of these differences.
        warm: the definition of warm and cold questions.

    Raises:
        UserError: a folder holds no finished run, two runs were not tested on the same questions, a run's predictions
            are not what its metrics.json was made of, or no row is the baseline.
    """
    runs, unfinished = read_finished(paths)
    groups = _grouped(runs)
    rows = [
        _row(name, [runs[place] for place in group], warm)
        for name, group in zip(named([runs[group[0]] for group in groups]), groups, strict=True)
    ]
    base = None if baseline is None else _place(rows, baseline)
    tasks = {}
    for task in dict.fromkeys(name for run in runs for name in run.metrics["tasks"]):
        asked = [place for place, run in enumerate(runs) if task in run.metrics["tasks"]]
        tables = dict(zip(asked, [read_sorted(runs[place].predictions(task)) for place in asked], strict=True))
        refuse_other_rows(task, [runs[place] for place in asked], list(tables.values()))
        for place, table in tables.items():
            refuse_contradiction(runs[place], task, table, task_of(runs[place].config, task))
        tasks[task] = _test_set(runs[asked[0]].metrics["tasks"][task], warm)
        if base is not None and groups[base][0] in tables:
            of_groups = [[tables[place] for place in group if place in tables] for group in groups]
            rows = _with_tests(rows, base, task, of_groups, task_of(runs[asked[0]].config, task), draws)
    return Comparison(
        command=command,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        data=runs[0].metrics["data"],
        warm_definition=warm,
        baseline=None if base is None else rows[base].label,
        draws=draws,
        tasks=tasks,
        rows=rows,
        left_out=[folder_name(folder) for folder in unfinished],
    )


def _grouped(runs: Sequence[Run]) -> list[list[int]]:
    """Return the places of the runs of each configuration, by ascending seed; in the order of their first runs.

    Raises:
        UserError: one configuration has a seed twice.
    """
    found: dict[tuple[Any, ...], list[int]] = {}
    for place, run in enumerate(runs):
        key = (run.metrics["model"], run.metrics["cf"], run.metrics["llm"], *sorted(run.configuration.items()))
        for other in found.setdefault(key, []):
            if runs[other].metrics["seed"] == run.metrics["seed"]:
                raise UserError(
                    f"{runs[other].folder} and {run.folder}: the same configuration with the same seed"
                    f" {run.metrics['seed']}: leave one out"
                )
        found[key].append(place)
    return [sorted(group, key=lambda place: runs[place].metrics["seed"]) for group in found.values()]


def number(values: Sequence[float | None]) -> Number | None:
    """Return mean and standard deviation (ddof 1) over seeds; None where a seed has no value."""
    defined = [value for value in values if value is not None]
    if len(defined) < len(values):
        return None
    return Number(mean=fmean(defined), sd=stdev(defined) if len(defined) > 1 else None)


def _row(name: Named, runs: Sequence[Run], warm: Definition) -> Row:
    first = runs[0].metrics
    return Row(
        label=name.label,
        settings=name.settings,
        model=first["model"],
        cf=first["cf"],
        llm=first["llm"],
        tasks={name: _task_row(name, runs, warm) for name in first["tasks"]},
        training=_cost([run.metrics["training"] for run in runs]),
        runs=[run_record(run) for run in runs],
    )


def _task_row(name: str, runs: Sequence[Run], warm: Definition) -> TaskRow:
    for run in runs:
        if name not in run.metrics["tasks"] or warm not in run.metrics["tasks"][name]["parts"]:
            raise UserError(f"{run.folder}/metrics.json: no {warm} parts of {name}: run it again, or leave it out")
    blocks = [run.metrics["tasks"][name] for run in runs]
    lines, first = [method_line(block) for block in blocks], runs[0].metrics
    metrics = lines[0]["metrics"]
    rates = number([block["scoring"] and block["scoring"]["rows_per_second"] for block in blocks])

    def means(values: Sequence[Mapping[str, Any]]) -> dict[str, Number | None]:
        return {metric: number([found[metric]["value"] for found in values]) for metric in metrics}

    return TaskRow(
        metrics=means([line["metrics"] for line in lines]),
        users={metric: found["users"] for metric, found in metrics.items() if found["users"] is not None},
        warm=means([line["parts"][warm]["warm"] for line in lines]),
        cold=means([line["parts"][warm]["cold"] for line in lines]),
        published=published(first["data"], first["model"], first["cf"]) if name == CTR else {},
        rows_per_second=None if rates is None else rates.mean,
    )


def _test_set(block: Mapping[str, Any], warm: Definition) -> TestSet:
    sizes = block["parts"][warm]
    return TestSet(rows=block["rows"], positives=block["positives"], warm_rows=sizes["warm"], cold_rows=sizes["cold"])


def _cost(records: Sequence[Mapping[str, Any] | None]) -> Cost | None:
    """Return what training took, of one seed: sizes are those of the first, the time is the mean."""
    known = [record for record in records if record is not None]
    if len(known) < len(records):
        return None
    seconds = fmean(record["seconds"] for record in known)
    first = known[0]
    return Cost(
        trained_parameters=first["trained_parameters"], rows=first["rows"], steps=first["steps"], seconds=seconds
    )


def _place(rows: Sequence[Row], baseline: str) -> int:
    found = [place for place, row in enumerate(rows) if row.label.casefold() == baseline.casefold()]
    found = found or [place for place, row in enumerate(rows) if baseline in [run.folder for run in row.runs]]
    if not found:
        known = ", ".join(shlex.quote(row.label) for row in rows)
        raise UserError(f"--baseline {shlex.quote(baseline)}: no such row: choose one of: {known}")
    return found[0]


def _with_tests(
    rows: Sequence[Row], base: int, name: str, tables: Sequence[Sequence[pl.DataFrame]], task: Task, draws: int
) -> list[Row]:
    """Return the rows with one task's comparisons with the baseline; `tables` are each row's, a seed each."""
    asked = questions_of(tables[base][0])
    found: dict[int, list[Statistic]] = {}
    for place, own in enumerate(tables):
        outputs = [output_of(table) for table in own]
        mean = outputs[0] if len(outputs) == 1 else task.averaged(outputs) if outputs else None
        if mean is not None:
            found[place] = task.metrics(asked, mean)
    if base not in found:
        return list(rows)
    others = {rows[place].label: own for place, own in found.items() if place != base}
    tested = against(asked.user, found[base], others, draws)
    return [
        row.model_copy(
            update={"tasks": {**row.tasks, name: row.tasks[name].model_copy(update={"against": tested[row.label]})}}
        )
        if row.label in tested
        else row
        for row in rows
    ]
