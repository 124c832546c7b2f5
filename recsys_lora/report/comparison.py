"""Comparison of runs in one table: a row per configuration, over its seeds, all tested on the same questions."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from recsys_lora.evaluation.bootstrap import Statistic
from recsys_lora.evaluation.warm_cold import Definition
from recsys_lora.report.against import against
from recsys_lora.report.comparison_schema import Comparison, Cost, Row, TaskRow, TestSet
from recsys_lora.report.floor import averaged, baseline_rows, number, stacked, task_row
from recsys_lora.report.labels import Named, named
from recsys_lora.report.provenance import run_record
from recsys_lora.report.published import published
from recsys_lora.report.run_answers import RunAnswers
from recsys_lora.report.runs import Run, folder_name, read_finished
from recsys_lora.report.same_rows import refuse_other_rows
from recsys_lora.report.table import method_line
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
    """Compare finished runs; the record also names the folders without results.

    Args:
        paths: run folders, or folders that contain runs.
        command: the command that asks for it, for the record.
        task_of: makes the tasks, which recompute metrics to check metrics.json and to compute the differences.
        baseline: label of the row that the others are compared with, or the folder of one of its runs; None: no
            tests.
        draws: bootstrap draws over users for the intervals of these differences.
        warm: the definition of warm and cold questions.

    Raises:
        UserError: a path contains no run, none has finished, two were not tested on the same questions, a run's
            predictions do not match its metrics.json, or no row is the baseline.
    """
    runs, unfinished = read_finished(paths)
    groups = _grouped(runs)
    configurations = [
        _row(name, [runs[place] for place in group], warm)
        for name, group in zip(named([runs[group[0]] for group in groups]), groups, strict=True)
    ]
    taken = {row.label for row in configurations}
    rows = [*(row for row in baseline_rows(runs, warm) if row.label not in taken), *configurations]
    base = None if baseline is None else _place(rows, baseline)
    tasks = {}
    for task in dict.fromkeys(name for run in runs for name in run.metrics["tasks"]):
        answers = {
            place: RunAnswers.read(run, task_of(run.config, task))
            for place, run in enumerate(runs)
            if task in run.metrics["tasks"]
        }
        every = list(answers.values())
        refuse_other_rows(task, [own.run for own in every], [own.table for own in every])
        block = every[0].block
        sizes = {f"{part}_rows": size for part, size in block["parts"][warm].items()}
        tasks[task] = TestSet(rows=block["rows"], positives=block["positives"], **sizes)
        of_groups = [[answers[place] for place in group if place in answers] for group in groups]
        of_rows: list[list[RunAnswers]] = [*([] for _ in range(len(rows) - len(groups))), *of_groups]
        added = [stacked(own, draws) if own else None for own in of_rows]
        rows = [_updated(row, task, stacked=own) if own else row for row, own in zip(rows, added, strict=True)]
        if base is not None:
            rows = _with_tests(rows, base, task, of_rows, every[0], draws)
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
    """Return the indices of each configuration's runs by ascending seed, in the order of first runs; no seed twice."""
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
    first = runs[0].metrics
    rates = number([block["scoring"] and block["scoring"]["rows_per_second"] for block in blocks])
    return task_row([method_line(block) for block in blocks], warm).model_copy(
        update={
            "published": published(first["data"], first["model"], first["cf"]) if name == CTR else {},
            "rows_per_second": None if rates is None else rates.mean,
        }
    )


def _cost(records: Sequence[Mapping[str, Any] | None]) -> Cost | None:
    """Return the cost of training one seed: sizes of the first seed, mean time over seeds."""
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
    folder = folder_name(Path(baseline)) if Path(baseline).is_dir() else baseline
    found = found or [place for place, row in enumerate(rows) if folder in [run.folder for run in row.runs]]
    if not found:
        known = ", ".join(shlex.quote(row.label) for row in rows)
        raise UserError(f"--baseline {shlex.quote(baseline)}: no such row: choose one of: {known}")
    return found[0]


def _with_tests(
    rows: Sequence[Row],
    base: int,
    name: str,
    answers: Sequence[Sequence[RunAnswers]],
    asked: RunAnswers,
    draws: int,
) -> list[Row]:
    """Return the rows with one task's comparisons with the baseline; `asked` are any run's answers to the task."""
    found: dict[int, list[Statistic]] = {}
    for place, own in enumerate(answers):
        mean = averaged(asked.task, [one.output for one in own])
        if mean is not None:
            found[place] = asked.metrics(mean)
    if not rows[base].runs and name in rows[base].tasks:
        kept = next((one for own in answers for one in own if one.has_lines), None)
        if kept is None:
            label = rows[base].label
            raise UserError(f"--baseline {label}: no run has kept lines_{name}.parquet: test one of them again")
        found[base] = kept.metrics(kept.line(rows[base].label))
    if base not in found:
        return list(rows)
    others = {rows[place].label: own for place, own in found.items() if place != base}
    tested = against(asked.questions.user, found[base], others, draws)
    return [_updated(row, name, against=tested[row.label]) if row.label in tested else row for row in rows]


def _updated(row: Row, task: str, **found: Any) -> Row:
    return row.model_copy(update={"tasks": {**row.tasks, task: row.tasks[task].model_copy(update=found)}})
