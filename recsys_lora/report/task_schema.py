"""The part of metrics.json that belongs to one of several tasks (docs/metrics_json.md)."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

Count = Annotated[int, Field(ge=0)]
Range = tuple[FiniteFloat, FiniteFloat]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Value(_Record):
    """A metric.

    Attributes:
        value: null where it is undefined.
        interval: 95 % bootstrap interval over users, null where there is none.
        reason: why there is no value, or no interval.
    """

    value: FiniteFloat | None
    interval: Range | None = None
    reason: str | None = None

    @model_validator(mode="after")
    def _null_has_a_reason(self) -> Self:
        if self.value is None and not self.reason:
            raise ValueError("a metric without a value needs a reason")
        if self.interval and self.interval[0] > self.interval[1]:
            raise ValueError("an interval is upside down")
        return self


class TaskLine(_Record):
    """One line of a task's table.

    Attributes:
        name: as printed.
        role: what it is to the run.
        sample: on the sample of questions instead of all of them.
        metrics: by name, on all questions of the line.
        warm: the same on warm questions.
        cold: the same on cold questions.
    """

    name: str
    role: Literal["trivial", "cf", "frozen_llm", "method_text", "method", "method_shuffled"]
    sample: bool = False
    metrics: dict[str, Value]
    warm: dict[str, Value]
    cold: dict[str, Value]


class TaskDifference(_Record):
    """The method minus another line on the same questions, with its 95 % bootstrap interval over users.

    Attributes:
        first: the method.
        second: the other line.
        metric: which.
        sample: on the sample of questions.
        value: first - second.
        interval: of the value.
        better: whether the method is better; for errors that is a value below zero.
    """

    first: str
    second: str
    metric: str
    sample: bool = False
    value: FiniteFloat
    interval: Range
    better: bool


class TaskBlock(_Record):
    """One task's results.

    Attributes:
        rows: questions.
        users: of whom.
        warm_definition: what warm and cold mean.
        warm_rows: warm questions.
        cold_rows: cold questions.
        sample_rows: questions of the lines with `sample`, null without such lines.
        lines: the table, in its order.
        differences: paired comparisons.
        remarks: what must stand beside a metric to be understood, by its name: BLEU's signature.
    """

    rows: Count
    users: Count
    warm_definition: Literal["seen", "count", "notebook"]
    warm_rows: Count
    cold_rows: Count
    sample_rows: Count | None = None
    lines: list[TaskLine]
    differences: list[TaskDifference] = []
    remarks: dict[str, str] = {}
