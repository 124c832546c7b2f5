"""One task's part of the final table: every line on the same questions (all, warm, cold), and paired differences."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from recsys_lora.evaluation.bootstrap import Floats, draws_of, percentiles, summary_of
from recsys_lora.evaluation.statistics import Statistic
from recsys_lora.evaluation.warm_cold import COLD, WARM, Definition
from recsys_lora.tasks.predictions import Flags
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.task import Output, Task, select

Role = Literal["baseline", "cf", "frozen_llm", "method_text", "method", "stack", "method_shuffled"]
_ORDER: tuple[Role, ...] = get_args(Role)
_BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Answered:
    """One line of the table: a name, its role in the run, and its predictions.

    Attributes:
        name: as printed.
        role: what it is; `method` marks the run's own model, even if that is only a CF model.
        output: predictions in the task's own form.
        sample: indices of the questions it is about, if these are not all.
        against: the name of the line that it is compared with instead of the method.
        made_of: for a stack, its entry in metrics.json.
    """

    name: str
    role: Role
    output: Output
    sample: NDArray[np.int64] | None = None
    against: str | None = None
    made_of: dict[str, Any] | None = None


def task_record(
    task: Task,
    questions: Questions,
    answered: Sequence[Answered],
    warm: Flags,
    definition: Definition,
    draws: int,
) -> dict[str, Any]:
    """Evaluate every line.

    Args:
        task: the task.
        questions: what was asked.
        answered: the lines, in any order; exactly one is the method on all questions.
        warm: for each definition, one flag per question: 1 warm, 0 cold, -1 neither.
        definition: the one whose warm and cold parts have intervals and are in the table.
        draws: bootstrap draws over users.

    Returns:
        The content of metrics.json under `tasks.<name>` (docs/metrics_json.md), except `scoring`.

    Raises:
        ValueError: there is not exactly one method.
    """
    own = [line for line in answered if line.role == "method" and line.sample is None]
    if len(own) != 1:
        raise ValueError(f"{task.name}: a table needs one line that is the method, got {len(own)}")
    ordered = sorted(answered, key=lambda line: _ORDER.index(line.role))
    whole = [line for line in ordered if line.sample is None]
    found = [_measured(task, questions, whole, warm, definition, draws)]
    sampled = [line for line in ordered if line.sample is not None]
    sample = sampled[0].sample if sampled else None
    if sample is not None:
        beside = Answered(own[0].name, "method", select(own[0].output, sample), sample)
        flags = {name: values[sample] for name, values in warm.items()}
        found.append(_measured(task, questions.take(sample), [beside, *sampled], flags, definition, draws))
    return {
        "rows": len(questions),
        "users": len(np.unique(questions.user)),
        "positives": int((questions.label > 0).sum()) if task.is_binary else None,
        "warm_definition": definition,
        "parts": {
            name: {"warm": int((flags == WARM).sum()), "cold": int((flags == COLD).sum())}
            for name, flags in warm.items()
        },
        "sample_rows": None if sample is None else len(sample),
        "lines": [line for lines, _ in found for line in lines],
        "differences": [difference for _, differences in found for difference in differences],
        "stacks": {line.name: line.made_of for line in ordered if line.made_of is not None},
        "remarks": task.remarks(questions, own[0].output),
    }


def _measured(
    task: Task,
    questions: Questions,
    lines: Sequence[Answered],
    warm: Flags,
    definition: Definition,
    draws: int,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the records of lines on the same questions, and of the method minus each other line."""
    statistics = [task.metrics(questions, line.output) for line in lines]
    drawn = _drawn(statistics, questions.user, draws)
    records = []
    for line, own, values in zip(lines, statistics, drawn, strict=True):
        parts = {
            name: {
                part: _part(task, questions, line, flags == value, draws if name == definition else 0)
                for part, value in (("warm", WARM), ("cold", COLD))
            }
            for name, flags in warm.items()
        }
        record = {"name": line.name, "role": line.role, "sample": line.sample is not None}
        records.append({**record, "metrics": _summaries(own, values), "parts": parts})
    return records, list(_differences(lines, statistics, drawn))


def _part(
    task: Task, questions: Questions, line: Answered, mask: NDArray[np.bool_], draws: int
) -> dict[str, dict[str, Any]]:
    asked = questions.take(mask)
    statistics = task.metrics(asked, select(line.output, mask))
    [drawn] = _drawn([statistics], asked.user, draws)
    return _summaries(statistics, drawn)


def _drawn(statistics: Sequence[Sequence[Statistic]], user: NDArray[np.int64], draws: int) -> list[list[Floats]]:
    flat = iter(draws_of([one for own in statistics for one in own], user, draws, _BOOTSTRAP_SEED))
    return [[next(flat) for _ in own] for own in statistics]


def _summaries(statistics: Sequence[Statistic], drawn: Sequence[Floats]) -> dict[str, dict[str, Any]]:
    return {one.name: summary_of(one, values) for one, values in zip(statistics, drawn, strict=True)}


def _differences(
    lines: Sequence[Answered], statistics: Sequence[Sequence[Statistic]], drawn: Sequence[Sequence[Floats]]
) -> Iterator[dict[str, Any]]:
    """Yield the method minus every other line, or a line minus its `against`, for metrics with intervals."""
    method = next(place for place, line in enumerate(lines) if line.role == "method")
    names = [line.name for line in lines]
    for number, line in enumerate(lines):
        if line.role == "method":
            continue
        own, place = (method, number) if line.against is None else (number, names.index(line.against))
        columns = zip(statistics[own], statistics[place], drawn[own], drawn[place], strict=True)
        for first, second, ours, theirs in columns:
            values, ends = (first.value(), second.value()), percentiles(ours - theirs)
            if values[0] is None or values[1] is None or not np.isfinite(ends).all():
                continue
            value = values[0] - values[1]
            yield {
                "first": lines[own].name,
                "second": lines[place].name,
                "metric": first.name,
                "sample": line.sample is not None,
                "value": value,
                "interval": list(ends),
                "better": value > 0 if first.higher_is_better else value < 0,
            }
