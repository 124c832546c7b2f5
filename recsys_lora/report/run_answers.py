"""One run's answers to one task as a comparison reads them: sorted by question, and checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from recsys_lora.evaluation.bootstrap import Statistic
from recsys_lora.report.agreement import contradiction, refuse_contradiction
from recsys_lora.report.runs import Run
from recsys_lora.report.same_rows import read_sorted
from recsys_lora.report.table import method_line
from recsys_lora.tasks.lines import SCORE, file_name, read_lines
from recsys_lora.tasks.predictions import output_of, questions_of, scores_of
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.task import Output, Task
from recsys_lora.utils.errors import UserError

_QUESTION = ["row", "item_id"]
"""Identifies a question within a run: besides a positive, a row may also ask about sampled items."""


@dataclass(frozen=True)
class RunAnswers:
    """The answers of a run to a task.

    Attributes:
        run: the run.
        task: the task, which computes metrics.
        table: its predictions, sorted by question.
    """

    run: Run
    task: Task
    table: pl.DataFrame

    @classmethod
    def read(cls, run: Run, task: Task) -> "RunAnswers":
        """Read a run's predictions.

        Raises:
            UserError: they cannot be read, or do not match the run's metrics.json.
        """
        found, path = cls(run, task, read_sorted(run.predictions(task.name))), run.predictions(task.name)
        if len(found.table) != found.block["rows"]:
            raise contradiction(path, "number of rows", len(found.table), found.block["rows"])
        refuse_contradiction(path, method_line(found.block), found.metrics(found.output))
        return found

    @property
    def block(self) -> Mapping[str, Any]:
        """The task's results in metrics.json."""
        return self.run.metrics["tasks"][self.task.name]  # type: ignore[no-any-return]

    @cached_property
    def questions(self) -> Questions:
        """The questions, sorted."""
        return questions_of(self.table)

    @property
    def output(self) -> Output:
        """The method's predictions."""
        return output_of(self.table)

    def metrics(self, output: Output) -> list[Statistic]:
        """Return the task's metrics of predictions in the order of the questions."""
        return self.task.metrics(self.questions, output)

    @property
    def has_lines(self) -> bool:
        """Whether the run has stored the scores of the other lines of its table."""
        return (self.run.folder / file_name(self.task.name)).is_file()

    @cached_property
    def _lines(self) -> pl.DataFrame:
        path = self.run.folder / file_name(self.task.name)
        kept = read_lines(path)
        asked = self.table.select(_QUESTION)
        if not kept.select(_QUESTION).sort(_QUESTION).equals(asked.sort(_QUESTION)):
            raise contradiction(path, "set of questions", len(kept), f"{len(self.table)} of its predictions")
        return asked.join(kept.unique(_QUESTION), on=_QUESTION, how="left", maintain_order="left")

    def line(self, name: str) -> Output:
        """Return the scores of another line of the run's table.

        Raises:
            UserError: they are missing, or do not match metrics.json.
        """
        path, column = self.run.folder / file_name(self.task.name), SCORE + name
        if column not in self._lines.columns:
            raise UserError(f"{path}: no column {column!r}: test the run again")
        scores, own = scores_of(self._lines[column]), np.asarray(self.output)
        if scores.shape != own.shape:
            raise contradiction(path, f"shape of {column!r}", scores.shape, f"{own.shape} of its predictions")
        said = next(line for line in self.block["lines"] if line["name"] == name and not line["sample"])
        refuse_contradiction(path, said, self.metrics(scores))
        return scores
