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
    """What training a method took; all zero but `frozen_parameters` where it trains nothing.

    Attributes:
        trained_parameters: how many numbers were trained.
        frozen_parameters: how many numbers of the backbone were not.
        rows: training questions.
        valid_rows: questions to validate on, answered at every validation.
        steps: optimiser steps.
        seconds: wall time of the fit, validations included, when it was really done.
        reused: the trained method was found in the cache.
    """

    trained_parameters: Count
    frozen_parameters: Count
    rows: Count
    valid_rows: Count
    steps: Count
    seconds: Amount
    reused: bool


class Scoring(_Record):
    """What answering the test questions with the method took, when it was really done.

    Attributes:
        rows: how many questions.
        seconds: wall time, from questions to predictions: prompts are built and tokenised within it.
        rows_per_second: one by the other.
    """

    rows: Count
    seconds: Amount
    rows_per_second: Amount


class Value(_Record):
    """A metric.

    Attributes:
        value: null where it is undefined.
        interval: 95 % bootstrap interval over users, null where there is none.
        standard_error: standard deviation of these draws, null where there are none.
        reason: why there is no value, or no interval.
        users: over how many users the value goes, where not all count; null where all do.
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
    """Metrics by name, of the warm and of the cold questions."""

    warm: dict[str, Value]
    cold: dict[str, Value]


class Sizes(_Record):
    """How many questions are warm, and how many cold."""

    warm: Count
    cold: Count


class Line(_Record):
    """One line of a task's table.

    Attributes:
        name: as printed.
        role: what it is to the run.
        sample: on the sample of questions instead of all of them.
        metrics: by name, on all questions of the line.
        parts: the same on warm and on cold questions, by each definition.
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
        metric: which.
        sample: on the sample of questions.
        value: first - second.
        interval: of the value.
        better: whether the first is better; for errors that is a value below zero.
    """

    first: str
    second: str
    metric: str
    sample: bool = False
    value: FiniteFloat
    interval: Range
    better: bool


class StackedScores(_Record):
    """A logit model over several lines' scores.

    Attributes:
        rows: validation questions that it was fitted on.
        weights: of each line's score in units of its standard deviation there, by the line's name.
    """

    rows: Count
    weights: dict[str, FiniteFloat]


class TaskBlock(_Record):
    """One task's results.

    Attributes:
        rows: questions.
        users: of whom.
        positives: of a yes-or-no task, how many are to be answered Yes; else null.
        warm_definition: the one of `parts` that tables show.
        parts: how many questions are warm and cold, by each definition.
        sample_rows: questions of the lines with `sample`, null without such lines.
        lines: the table, in its order.
        differences: paired comparisons.
        stacks: what the lines of role `stack` are made of, by their names.
        remarks: what must stand beside a metric to be understood, by its name: BLEU's signature.
        scoring: what answering with the method took; null for a CF model alone, and where nothing tells it.
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
        schema_version: 3; another form has another number.
        name: of the run.
        model: `model.name`.
        data: `data.name`.
        cf: `cf.name`, null where the model needs no encoder.
        llm: the backbone's name, null where there is none.
        seed: of the run.
        tags: of the run.
        tasks: the results of each task, by name.
        valid: the best validation, null where there was none.
        training: what training the method took; null for a CF model alone and where a checkpoint was tested.
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
