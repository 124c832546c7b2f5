"""The record of a comparison: everything its tables show, and how to reproduce it (docs/comparing.md).

The classes below are the schema. A number that does not exist is null.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, ValidationError

from recsys_lora.evaluation.warm_cold import Definition
from recsys_lora.report.comparison_numbers import Against, Count, Number, Record, Share, Stacked
from recsys_lora.utils.errors import UserError, first_problem
from recsys_lora.utils.files import read_json

Whose = Literal["own", "rerun"]
"""Numbers of the paper that proposed a method, or of CoRA's authors, who re-ran it."""


class Quoted(Record):
    """Published numbers.

    Attributes:
        source: the paper.
        llm: its language model; null if none.
        auc: AUC on the test rows.
        uauc: UAUC on the test rows.
    """

    source: str
    llm: str | None
    auc: Share
    uauc: Share


class Cost(Record):
    """Cost of one run of a row.

    Attributes:
        trained_parameters: number of trained parameters.
        rows: number of training rows.
        steps: optimiser steps actually taken; null in older records.
        seconds: wall time of training, mean over seeds.
    """

    trained_parameters: Count
    rows: Count
    steps: Count | None = None
    seconds: FiniteFloat


class RunRecord(Record):
    """One run behind a row.

    Attributes:
        folder: folder name.
        seed: its seed.
        command: command that reproduces it, with the machine's paths cut to their last part.
        overrides: the command's overrides.
        metrics: metrics of this seed, by task and name.
        started: start time, UTC.
        commit: git commit; null outside a checkout.
        dirty: whether files differed from that commit; null outside a checkout.
        device: device it ran on.
        python: Python version.
        packages: package versions by name.
    """

    folder: str
    seed: int
    command: str
    overrides: list[str]
    metrics: dict[str, dict[str, FiniteFloat | None]]
    started: str
    commit: str | None
    dirty: bool | None
    device: str
    python: str
    packages: dict[str, str]


class TaskRow(Record):
    """One configuration's results in one task; a metric is null where a seed has none.

    Attributes:
        metrics: metrics on all test questions, by name.
        users: number of users in a metric, if not all count.
        warm: metrics on warm questions.
        cold: metrics on cold questions.
        published: for `ctr`, published numbers, by `own` (the method's paper) and `rerun` (CoRA's authors).
        rows_per_second: test questions answered per second, mean over seeds; null if unknown.
        against: comparison with the baseline; null for the baseline itself, without one, and if predictions cannot be
            averaged over seeds, as texts.
        stacked: what it adds to a stack of counts and its CF model; null if its runs have no stacks.
    """

    metrics: dict[str, Number | None]
    users: dict[str, Count] = Field(default_factory=dict)
    warm: dict[str, Number | None]
    cold: dict[str, Number | None]
    published: dict[Whose, Quoted] = Field(default_factory=dict)
    rows_per_second: FiniteFloat | None = None
    against: Against | None = None
    stacked: Stacked | None = None


class Row(Record):
    """One configuration, over its seeds; or a model-free baseline, the same for all runs.

    Attributes:
        label: model and CF encoder, and what distinguishes it from rows of the same name; the name of a baseline.
        settings: further config keys and values in which these rows differ.
        model: `model.name`; null for a baseline.
        cf: `cf.name`; null without an encoder.
        llm: name of the backbone; null if none.
        tasks: results by task.
        training: cost of training; null for a CF model alone, for a baseline, and if unknown.
        runs: one per seed, ascending; none for a baseline.
    """

    label: str
    settings: dict[str, str] = Field(default_factory=dict)
    model: str | None
    cf: str | None
    llm: str | None
    tasks: dict[str, TaskRow]
    training: Cost | None
    runs: list[RunRecord]


class TestSet(Record):
    """The questions of one task that all rows were tested on.

    Attributes:
        rows: number of questions.
        positives: for a yes-or-no task, number of answers Yes; else null.
        warm_rows: number of warm questions.
        cold_rows: number of cold questions.
    """

    __test__ = False  # not a pytest class

    rows: Count
    positives: Count | None
    warm_rows: Count
    cold_rows: Count


class Comparison(Record):
    """The whole file.

    Attributes:
        schema_version: 3; 2 is the same without baselines and stacks.
        command: command that made this file.
        made: creation time, UTC.
        data: `data.name` of all runs.
        warm_definition: definition of warm and cold.
        baseline: label of the row that the others are compared with; null if none.
        draws: bootstrap draws behind the intervals.
        tasks: the test questions of each task.
        rows: model-free baselines, then configurations in the order of the runs given.
        left_out: folders of runs without results.
    """

    schema_version: Literal[2, 3] = 3
    command: str
    made: str
    data: str
    warm_definition: Definition
    baseline: str | None
    draws: Count
    tasks: dict[str, TestSet]
    rows: Annotated[list[Row], Field(min_length=1)]
    left_out: list[str] = Field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the record in its JSON form."""
        return self.model_dump(mode="json")


def read_comparison(path: Path) -> Comparison:
    """Read a record that `--json` wrote.

    Raises:
        UserError: the file does not exist, or is not a record of this version.
    """
    if not path.is_file():
        raise UserError(f"{path}: not there: write it with python -m recsys_lora.compare RUNS --json {path.name}")
    try:
        return Comparison.model_validate(read_json(path))
    except ValidationError as error:
        problem = f"{path}: {first_problem(error)}: not a comparison of version 2 or 3"
        raise UserError(f"{problem}: write it again with --json") from error
