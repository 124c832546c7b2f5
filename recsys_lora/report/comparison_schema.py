"""The record of a comparison: everything its tables show, and how to make it again (docs/comparing.md).

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
"""Numbers of the paper that proposed a method, or of CoRA's authors who ran it again."""


class Quoted(Record):
    """What a paper printed.

    Attributes:
        source: the paper.
        llm: its language model; null where it has none.
        auc: on the test rows.
        uauc: likewise.
    """

    source: str
    llm: str | None
    auc: Share
    uauc: Share


class Cost(Record):
    """What one run of a row took.

    Attributes:
        trained_parameters: how many numbers were trained.
        rows: training rows.
        steps: optimiser steps really made; null in records of before they were kept.
        seconds: wall time of training, mean over seeds.
    """

    trained_parameters: Count
    rows: Count
    steps: Count | None = None
    seconds: FiniteFloat


class RunRecord(Record):
    """One run behind a row.

    Attributes:
        folder: its folder's name.
        seed: its seed.
        command: what makes it again; of a path of the machine only the last part is kept.
        overrides: the command's overrides.
        metrics: of this seed, by task and name.
        started: when, UTC.
        commit: of git; null outside a checkout.
        dirty: whether files differed from that commit; null outside a checkout.
        device: what it ran on.
        python: its version.
        packages: versions by name.
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
        metrics: of all test questions, by name.
        users: over how many users a metric goes, where not all count.
        warm: metrics of warm questions.
        cold: of cold ones.
        published: of `ctr`, what papers printed, by `own` (the method's) and `rerun` (CoRA's authors').
        rows_per_second: test questions answered a second, mean over seeds; null where a run does not know.
        against: compared with the baseline; null for itself, without one, and where predictions of several seeds have
            no mean, as texts.
        stacked: what it adds to a stack of counts and its CF model; null where its runs have no stacks.
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
    """One configuration, over its seeds; or a model-free baseline, which all runs have alike.

    Attributes:
        label: model and CF encoder, and what sets it apart from rows that would be called the same; of a baseline its
            name.
        settings: config keys and values in which these rows differ besides.
        model: `model.name`; null for a baseline.
        cf: `cf.name`; null without an encoder.
        llm: the backbone's name; null without.
        tasks: its results, by task.
        training: null for a CF model alone and a baseline, and where a run does not know.
        runs: one a seed, ascending; none for a baseline.
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
        rows: how many.
        positives: of a yes-or-no task, how many are to be answered Yes; else null.
        warm_rows: how many are warm.
        cold_rows: how many are cold.
    """

    __test__ = False  # no pytest class

    rows: Count
    positives: Count | None
    warm_rows: Count
    cold_rows: Count


class Comparison(Record):
    """The whole file.

    Attributes:
        schema_version: 3; 2 is the same without baselines and stacks.
        command: what made this file.
        made: when, UTC.
        data: `data.name` of all runs.
        warm_definition: of warm and cold.
        baseline: label of the row that the others are compared with; null without.
        draws: bootstrap draws behind the intervals.
        tasks: what was asked.
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
        UserError: there is none, or it is not one of this version.
    """
    if not path.is_file():
        raise UserError(f"{path}: not there: write it with python -m recsys_lora.compare RUNS --json {path.name}")
    try:
        return Comparison.model_validate(read_json(path))
    except ValidationError as error:
        problem = f"{path}: {first_problem(error)}: not a comparison of version 2 or 3"
        raise UserError(f"{problem}: write it again with --json") from error
