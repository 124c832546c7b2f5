"""metrics.json: every number of a run, in a form that programs may rely on (docs/metrics_json.md).

The classes below are the schema. A number that cannot be computed is null and `undefined` says why; nothing is NaN.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from recsys_lora.errors import UserError
from recsys_lora.files import read_json, write_json
from recsys_lora.report.cost_schema import Scoring, Training
from recsys_lora.report.task_schema import TaskBlock

VERSION = 2
Count = Annotated[int, Field(ge=0)]
Share = Annotated[FiniteFloat, Field(ge=0, le=1)]
Range = tuple[FiniteFloat, FiniteFloat]
MetricName = Literal["auc", "uauc", "log_loss"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Block(_Record):
    """Metrics of some rows.

    Attributes:
        rows: how many.
        positives: how many of them have label 1.
        auc: over all rows.
        uauc: unweighted mean of the users' own AUC.
        uauc_users: over how many users that goes: those with rows of both classes.
        log_loss: mean binary cross-entropy in nats, scores taken as logits.
        undefined: for each metric that is null, why.
        intervals: 95 % bootstrap intervals over users, [low, high].
    """

    rows: Count
    positives: Count
    auc: Share | None
    uauc: Share | None
    uauc_users: Count
    log_loss: Annotated[FiniteFloat, Field(ge=0)] | None
    undefined: dict[MetricName, str] = {}
    intervals: dict[MetricName, Range] = {}

    @model_validator(mode="after")
    def _null_has_a_reason(self) -> Self:
        values = {"auc": self.auc, "uauc": self.uauc, "log_loss": self.log_loss}
        null = {name for name, value in values.items() if value is None}
        if null != set(self.undefined):
            raise ValueError(f"null are {sorted(null)}, but reasons are given for {sorted(self.undefined)}")
        if self.positives > self.rows:
            raise ValueError(f"{self.positives} positives of {self.rows} rows")
        if self.intervals.keys() & null:
            raise ValueError("an undefined metric has an interval")
        for name, (low, high) in self.intervals.items():
            if low > high:
                raise ValueError(f"the interval of {name} is upside down")
        return self


class WarmCold(_Record):
    """Metrics of warm and of cold rows under one definition."""

    warm: Block
    cold: Block


class SplitBlock(Block):
    """Metrics of all rows of a split, and of its warm and cold ones.

    Attributes:
        warm_definition: the definition behind `warm` and `cold`.
        warm: user and item known from train, by that definition.
        cold: the others (with `notebook`: neither known).
        seen: the same two under this definition, where it is not the chosen one.
        count: the same.
        notebook: the same.
    """

    warm_definition: Literal["seen", "count", "notebook"]
    warm: Block
    cold: Block
    seen: WarmCold | None = None
    count: WarmCold | None = None
    notebook: WarmCold | None = None

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        parts = self.warm.rows + self.cold.rows
        if parts > self.rows or (self.warm_definition != "notebook" and parts != self.rows):
            raise ValueError(f"{self.warm.rows} warm and {self.cold.rows} cold rows of {self.rows}")
        return self


class Line(_Record):
    """One line of the table.

    Attributes:
        name: as printed.
        role: what it is to the run.
        sample: on the sample of rows instead of all of them.
        metrics: its numbers.
    """

    name: str
    role: Literal["popularity", "cf", "frozen_llm", "method", "method_shuffled"]
    sample: bool = False
    metrics: SplitBlock


class Difference(_Record):
    """A paired difference of two lines on the same rows, with its 95 % bootstrap interval over users."""

    first: str
    second: str
    metric: MetricName
    value: FiniteFloat
    interval: Range


class Sample(_Record):
    """The fixed rows on which users' vectors are shuffled."""

    rows: Count
    seed: Count


class Metrics(_Record):
    """The whole file.

    Attributes:
        schema_version: 2; another form has another number.
        name: of the run.
        model: `model.name`.
        data: `data.name`.
        cf: `cf.name`, null where the model needs no encoder.
        llm: the backbone's name, null where there is none.
        seed: of the run.
        tags: of the run.
        test: the run's own model on the test rows; null where it answers several tasks.
        valid: the best validation, null where there was none.
        training: what training the method took; null for a CF model alone and where a checkpoint was tested.
        scoring: what scoring the test rows with the method took; null where nothing tells it.
        lines: the table, in its order.
        sample: rows of the lines with `sample`.
        differences: paired comparisons.
        tasks: for a model of several tasks, the results of each.
        draws: bootstrap draws behind the intervals.
        seconds: wall time of each stage.
    """

    schema_version: Literal[2] = 2
    name: str
    model: str
    data: str
    cf: str | None = None
    llm: str | None = None
    seed: int
    tags: list[str] = []
    test: SplitBlock | None
    valid: dict[str, FiniteFloat | int] | None = None
    training: Training | None = None
    scoring: Scoring | None = None
    lines: list[Line] = []
    sample: Sample | None = None
    differences: list[Difference] = []
    tasks: dict[str, TaskBlock] = {}
    draws: Count = 0
    seconds: dict[str, FiniteFloat] = {}


def validated(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record in its JSON form.

    Raises:
        ValueError: it does not follow the schema.
    """
    return Metrics.model_validate(metrics).model_dump(mode="json", exclude_none=False)


def write_metrics(path: Path, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Check and write metrics.json, atomically.

    Returns:
        What was written.

    Raises:
        ValueError: it does not follow the schema.
    """
    record = validated(metrics)
    write_json(path, record)
    return record


def read_metrics(path: Path) -> dict[str, Any]:
    """Read a run's metrics.json.

    Raises:
        UserError: there is none, or it is not one of this version.
    """
    if not path.is_file():
        raise UserError(f"{path}: not there: the run has not finished, or this is not a run folder")
    try:
        return validated(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"{path}: {place}: {first['msg']}: not a metrics.json of version {VERSION}") from error
