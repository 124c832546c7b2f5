"""The schema of metrics.json (docs/metrics_json.md).

A number that cannot be computed is null and has a reason; nothing is NaN.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from recsys_lora.evaluation.warm_cold import Definition
from recsys_lora.tasks.record import Role

VERSION = 3
Count = Annotated[int, Field(ge=0)]
Amount = Annotated[FiniteFloat, Field(ge=0)]
Range = tuple[FiniteFloat, FiniteFloat]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Training(_Record):
    """Cost of training a method; all zero except `frozen_parameters` if it trains nothing.

    Attributes:
        trained_parameters: number of trained parameters.
        frozen_parameters: number of frozen parameters of the backbone.
        rows: number of training questions.
        valid_rows: questions answered at every validation.
        steps: number of optimiser steps.
        seconds: wall time of the original fit, validations included.
        reused: whether the trained method was found in the cache.
    """

    trained_parameters: Count
    frozen_parameters: Count
    rows: Count
    valid_rows: Count
    steps: Count
    seconds: Amount
    reused: bool


class Scoring(_Record):
    """Cost of answering the test questions with the method, when this was originally done.

    Attributes:
        rows: number of questions.
        seconds: wall time from questions to predictions, including building and tokenising the prompts.
        rows_per_second: rows divided by seconds.
    """

    rows: Count
    seconds: Amount
    rows_per_second: Amount


class Value(_Record):
    """A metric.

    Attributes:
        value: the value, null if undefined.
        interval: 95 % bootstrap interval over users, null if there is none.
        standard_error: standard deviation of these draws, null if there are none.
        reason: why there is no value, or no interval.
        users: number of users in the value, if not all count; null if all do.
    """

    value: FiniteFloat | None
    interval: Range | None = None
    standard_error: Amount | None = None
    reason: str | None = None
    users: Count | None = None

    @model_validator(mode="after")
    def _null_has_a_reason(self) -> Self:
        if self.value is None and (not self.reason or self.interval):
            raise ValueError("a metric without a value needs a reason, and has no interval")
        if self.interval and self.interval[0] > self.interval[1]:
            raise ValueError("an interval is upside down")
        return self


class Parts(_Record):
    """Metrics by name, on the warm and on the cold questions."""

    warm: dict[str, Value]
    cold: dict[str, Value]


class Sizes(_Record):
    """Numbers of warm and of cold questions."""

    warm: Count
    cold: Count


class Line(_Record):
    """One line of a task's table.

    Attributes:
        name: name as printed.
        role: role in the run.
        sample: on the sample of questions instead of all of them.
        metrics: metrics by name, on all questions of the line.
        parts: the same on warm and on cold questions, by definition of warm.
    """

    name: str
    role: Role
    sample: bool = False
    metrics: dict[str, Value]
    parts: dict[Definition, Parts]

    @model_validator(mode="after")
    def _parts_have_the_same(self) -> Self:
        for name, parts in self.parts.items():
            if not self.metrics.keys() == parts.warm.keys() == parts.cold.keys():
                raise ValueError(f"{self.name}: parts by {name} have other metrics than the whole")
        return self


class Difference(_Record):
    """The method, or a stack with it, minus another line, with the 95 % bootstrap interval over users.

    Attributes:
        first: the method, or the stack with it.
        second: the other line.
        metric: its name.
        sample: on the sample of questions.
        value: first - second.
        interval: interval of the value.
        better: whether the first is better; for error metrics, if the value is below zero.
    """

    first: str
    second: str
    metric: str
    sample: bool = False
    value: FiniteFloat
    interval: Range
    better: bool


class StackedScores(_Record):
    """A logit model over the scores of several lines.

    Attributes:
        rows: validation questions it was fitted on.
        weights: weight of each line's score, in units of its standard deviation there, by the line's name.
    """

    rows: Count
    weights: dict[str, FiniteFloat]


class TaskBlock(_Record):
    """One task's results.

    Attributes:
        rows: number of questions.
        users: number of their users.
        positives: for a yes-or-no task, number of answers Yes; else null.
        warm_definition: the definition of warm that tables show.
        parts: numbers of warm and cold questions, by definition of warm.
        sample_rows: questions of the lines with `sample`, null without such lines.
        lines: lines of the table, in order.
        differences: paired comparisons.
        stacks: models behind the lines of role `stack`, by name.
        remarks: remarks needed to interpret a metric, by its name: BLEU's signature.
        scoring: cost of answering with the method; null for a CF model alone, and if unknown.
    """

    rows: Count
    users: Count
    positives: Count | None = None
    warm_definition: Definition
    parts: dict[Definition, Sizes]
    sample_rows: Count | None = None
    lines: list[Line]
    differences: list[Difference] = []
    stacks: dict[str, StackedScores] = {}
    remarks: dict[str, str] = {}
    scoring: Scoring | None = None

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.warm_definition not in self.parts:
            raise ValueError(f"there are no parts by {self.warm_definition}")
        for name, sizes in self.parts.items():
            parts = sizes.warm + sizes.cold
            if parts > self.rows or (name != "notebook" and parts != self.rows):
                raise ValueError(f"{sizes.warm} warm and {sizes.cold} cold rows of {self.rows} by {name}")
        if self.positives is not None and self.positives > self.rows:
            raise ValueError(f"{self.positives} positives of {self.rows} rows")
        if differing := [line.name for line in self.lines if line.parts.keys() != self.parts.keys()]:
            raise ValueError(f"{differing[0]} has other parts than the task")
        if not any(line.role == "method" and not line.sample for line in self.lines):
            raise ValueError("no line is the method on all rows")
        return self


class Metrics(_Record):
    """The whole file.

    Attributes:
        schema_version: 3; other formats have other numbers.
        name: name of the run.
        model: `model.name`.
        data: `data.name`.
        cf: `cf.name`, null if the model needs no encoder.
        llm: name of the backbone, null if there is none.
        seed: its seed.
        tags: its tags.
        tasks: results by task.
        valid: the best validation, null if there was none.
        training: cost of training the method; null for a CF model alone and if a checkpoint was tested.
        draws: bootstrap draws behind the intervals.
        seconds: wall time of each stage.
    """

    schema_version: Literal[3] = 3
    name: str
    model: str
    data: str
    cf: str | None = None
    llm: str | None = None
    seed: int
    tags: list[str] = []
    tasks: dict[str, TaskBlock]
    valid: dict[str, FiniteFloat | int] | None = None
    training: Training | None = None
    draws: Count = 0
    seconds: dict[str, FiniteFloat] = {}
