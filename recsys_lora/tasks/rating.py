"""How many stars would this user give this item? From the probabilities of the scale's digits."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from recsys_lora.data.prepared import PreparedData
from recsys_lora.data.schema import SplitName
from recsys_lora.evaluation.statistics import Statistic
from recsys_lora.tasks import ratings
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.selection import Limit, asked_rows, generator, sample
from recsys_lora.tasks.task import Kind, Output, RatingPredictions, Raw, Task


class Rating(Task):
    """The rating of every labelled row; see `Task` for the arguments."""

    name: ClassVar[str] = "rating"
    kind: Kind = "choice"

    @property
    def choices(self) -> tuple[str, ...]:
        """The scale's whole numbers."""
        return self.scale.choices

    def questions(self, data: PreparedData, split: SplitName, limit: Limit, seed: int) -> Questions:
        """Return a question for every row of the split."""
        rows, most = asked_rows(data, split, limit, seed, self.history_range)
        rows = rows.take(sample(len(rows), most, generator(self.name, split, seed)))
        return Questions.of(rows, self.scale.nearest(rows.rating), rows.rating)

    def predict(self, raw: Raw, questions: Questions) -> RatingPredictions:
        """Return expected value and argmax from logits (n, K)."""
        return ratings.from_logits(np.asarray(raw, dtype=np.float64), self.scale)

    def averaged(self, outputs: Sequence[Output]) -> RatingPredictions:
        """Return the mean over seeds of the expected ratings, with the nearest choices."""
        return ratings.averaged([ratings.checked(output) for output in outputs], self.scale)

    def metrics(self, questions: Questions, output: Output) -> list[Statistic]:
        """Return MAE, RMSE and accuracy."""
        return ratings.metrics(questions, ratings.checked(output))

    def baselines(self, data: PreparedData, questions: Questions, train: Questions) -> dict[str, Output]:
        """Return the constant mode, the global mean and the item mean."""
        return {**ratings.baselines(self.scale, questions, train)}
