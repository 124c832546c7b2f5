"""Model-free baselines beside the rows of a comparison, and what each row adds to a stack of them."""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from recsys_lora.evaluation.warm_cold import Definition
from recsys_lora.report.against import gaps
from recsys_lora.report.agreement import alike
from recsys_lora.report.comparison_numbers import Number, Stacked
from recsys_lora.report.comparison_schema import Row, TaskRow
from recsys_lora.report.run_answers import RunAnswers
from recsys_lora.report.runs import Run
from recsys_lora.tasks.task import Output, Task
from recsys_lora.utils.errors import UserError

Line = Mapping[str, Any]
"""A line of metrics.json."""


def number(values: Sequence[float | None]) -> Number | None:
    """Return mean and standard deviation (ddof 1) over seeds; None if a seed has no value."""
    defined = [value for value in values if value is not None]
    if len(defined) < len(values):
        return None
    return Number(mean=fmean(defined), sd=stdev(defined) if len(defined) > 1 else None)


def task_row(lines: Sequence[Line], warm: Definition) -> TaskRow:
    """Return the results of one configuration, given a line per seed."""
    metrics = lines[0]["metrics"]

    def means(values: Sequence[Mapping[str, Any]]) -> dict[str, Number | None]:
        return {metric: number([found[metric]["value"] for found in values]) for metric in metrics}

    return TaskRow(
        metrics=means([line["metrics"] for line in lines]),
        users={metric: found["users"] for metric, found in metrics.items() if found["users"] is not None},
        warm=means([line["parts"][warm]["warm"] for line in lines]),
        cold=means([line["parts"][warm]["cold"] for line in lines]),
    )


def baseline_rows(runs: Sequence[Run], warm: Definition) -> list[Row]:
    """Return a row for each model-free baseline, with the tasks on which all runs agree about it.

    Baselines count training questions, so they differ between runs on different training rows: these are left out.
    """
    found: dict[str, dict[str, TaskRow]] = {}
    for task in dict.fromkeys(name for run in runs for name in run.metrics["tasks"]):
        blocks = [run.metrics["tasks"][task] for run in runs if task in run.metrics["tasks"]]
        of_runs = [{line["name"]: line for line in block["lines"] if line["role"] == "baseline"} for block in blocks]
        for name, line in of_runs[0].items():
            if all(name in own and _same(line, own[name]) for own in of_runs):
                found.setdefault(name, {})[task] = task_row([line], warm)
    return [
        Row(label=name, model=None, cf=None, llm=None, tasks=tasks, training=None, runs=[])
        for name, tasks in found.items()
    ]


def _same(first: Line, second: Line) -> bool:
    ours, theirs = first["metrics"], second["metrics"]
    return ours.keys() == theirs.keys() and all(alike(ours[name]["value"], theirs[name]["value"]) for name in ours)


def averaged(task: Task, outputs: Sequence[Output]) -> Output | None:
    """Return the prediction averaged over seeds; None if there is none."""
    return outputs[0] if len(outputs) == 1 else task.averaged(outputs) if outputs else None


def stacked(answers: Sequence[RunAnswers], draws: int) -> Stacked | None:
    """Return what a configuration adds to the stack of counts and its CF model; None if its runs have no stacks.

    Raises:
        UserError: only some of its runs have stacks, or their scores do not match metrics.json.
    """
    pairs = [[line for line in own.block["lines"] if line["role"] == "stack"] for own in answers]
    without = [own for pair, own in zip(pairs, answers, strict=True) if len(pair) != 2 or not own.has_lines]
    first = answers[0]
    if 0 < len(without) < len(answers):
        raise UserError(
            f"{without[0].run.folder}: no stacks of {first.task.name}, which other seeds of it have: test it again, or "
            "leave it out"
        )
    if without:
        return None
    statistics, means = [], []
    for place in (0, 1):  # without the method, and with it
        lines = [pair[place] for pair in pairs]
        output = averaged(first.task, [own.line(line["name"]) for own, line in zip(answers, lines, strict=True)])
        if output is None:
            return None
        statistics.append(first.metrics(output))
        means.append({name: number([line["metrics"][name]["value"] for line in lines]) for name in lines[0]["metrics"]})
    [found] = gaps(first.questions.user, statistics, draws)
    return Stacked(without=means[0], included=means[1], gaps=found)
