"""One task's part of the final table: every line on the same questions, all, warm and cold, and paired differences."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from recsys_lora.evaluation.statistics import Statistic, paired, summarise
from recsys_lora.evaluation.warmth import COLD, WARM, Definition
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.task import Output, Task, select

TaskRole = Literal["trivial", "cf", "frozen_llm", "method_text", "method", "method_shuffled"]
ORDER: tuple[TaskRole, ...] = get_args(TaskRole)
BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Answered:
    """One line to be: a name, what it is to the run, and its predictions.

    Attributes:
        name: as printed.
        role: what it is; `method` marks the run's own model with its soft tokens.
        output: predictions in the task's own form.
        sample: places of the questions it is about, where these are not all.
    """

    name: str
    role: TaskRole
    output: Output
    sample: NDArray[np.int64] | None = None


def task_record(
    task: Task,
    questions: Questions,
    answered: Sequence[Answered],
    warm: Mapping[Definition, NDArray[np.int8]],
    definition: Definition,
    draws: int,
) -> dict[str, Any]:
    """Measure every line.

    Args:
        task: the task.
        questions: what was asked.
        answered: the lines, in any order; exactly one is the method on all questions.
        warm: for each definition 1 warm, 0 cold, -1 neither, a question each.
        definition: the one behind `warm` and `cold`.
        draws: bootstrap draws over users.

    Returns:
        What metrics.json holds under `tasks.<name>` (docs/metrics_json.md).

    Raises:
        ValueError: there is not exactly one method.
    """
    own = [line for line in answered if line.role == "method" and line.sample is None]
    if len(own) != 1:
        raise ValueError(f"{task.name}: a table needs one line that is the method, got {len(own)}")
    lines = _with_method_on_samples(sorted(answered, key=lambda a: (a.sample is not None, ORDER.index(a.role))), own[0])
    flags = warm[definition]
    return {
        "rows": len(questions),
        "users": len(np.unique(questions.user)),
        "warm_definition": definition,
        "warm_rows": int((flags == WARM).sum()),
        "cold_rows": int((flags == COLD).sum()),
        "sample_rows": next((len(line.sample) for line in lines if line.sample is not None), None),
        "lines": [_measured(task, questions, line, flags, draws) for line in lines],
        "differences": list(_differences(task, questions, lines, draws)),
        "remarks": task.remarks(questions, own[0].output),
    }


def _measured(task: Task, questions: Questions, line: Answered, flags: NDArray[np.int8], draws: int) -> dict[str, Any]:
    asked, flags = (questions, flags) if line.sample is None else (questions.take(line.sample), flags[line.sample])
    parts: dict[str, NDArray[np.bool_]] = {"warm": flags == WARM, "cold": flags == COLD}
    return {
        "name": line.name,
        "role": line.role,
        "sample": line.sample is not None,
        "metrics": summarise(task.measures(asked, line.output), asked.user, draws, BOOTSTRAP_SEED),
        **{
            part: summarise(task.measures(asked.take(mask), select(line.output, mask)), asked.user[mask], 0)
            for part, mask in parts.items()
        },
    }


def _with_method_on_samples(lines: Sequence[Answered], method: Answered) -> list[Answered]:
    """Put the method on the sample's questions before the first line on the sample, to compare with."""
    result = list(lines)
    first = next((index for index, line in enumerate(result) if line.sample is not None), None)
    if first is not None:
        sample = result[first].sample
        assert sample is not None
        result.insert(first, Answered(method.name, "method", select(method.output, sample), sample))
    return result


def _differences(task: Task, questions: Questions, lines: Sequence[Answered], draws: int) -> Iterator[dict[str, Any]]:
    """Yield the method minus every other line on the same questions, for each metric that has an interval."""
    for line in lines:
        if line.role == "method":
            continue
        whole = line.sample is None
        own = next(other for other in lines if other.role == "method" and (other.sample is None) == whole)
        asked = questions if line.sample is None else questions.take(line.sample)
        pairs = zip(task.measures(asked, own.output), task.measures(asked, line.output), strict=True)
        for first, second in pairs:
            found = _paired(first, second, asked.user, draws)
            if found is not None:
                yield {"first": own.name, "second": line.name, "metric": first.name, "sample": not whole, **found}


def _paired(first: Statistic, second: Statistic, user: NDArray[np.int64], draws: int) -> dict[str, Any] | None:
    if first.value() is None or second.value() is None or not len(first.users):
        return None
    difference = paired(first, second, user, draws, BOOTSTRAP_SEED)
    if not np.isfinite(difference).all():
        return None
    better = difference.value > 0 if first.higher_is_better else difference.value < 0
    return {"value": difference.value, "interval": [difference.low, difference.high], "better": bool(better)}
