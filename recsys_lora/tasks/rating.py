"""How many stars would this user give this item? From the probabilities of the scale's digits."""

from collections.abc import Sequence
from typing import ClassVar, cast

from recsys_lora.data.prepared import PreparedData
from recsys_lora.data.schema import SplitName
from recsys_lora.evaluation.statistics import Statistic
from recsys_lora.tasks import ratings
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.scale import RatingScale
from recsys_lora.tasks.task import Floats, Kind, Output, RatingPredictions, Task, generator, sample


class Rating(Task):
    """The rating of every labelled row; see `Task` for the arguments."""

    name: ClassVar[str] = "rating"
    kind: Kind = "choice"

    def choices(self, scale: RatingScale) -> tuple[str, ...]:
        """Return the scale's whole numbers."""
        return scale.choices

    def questions(
        self, data: PreparedData, scale: RatingScale, split: SplitName, limit: int | None, seed: int
    ) -> Questions:
        """Return a question for every row of the split."""
        rows = data.rows(split)
        rows = rows.take(sample(len(rows), limit, generator(self.name, split, seed)))
        return Questions.of(rows, scale.nearest(rows.rating), rows.rating)

    def predict(self, raw: Floats | Sequence[str], questions: Questions, scale: RatingScale) -> RatingPredictions:
        """Return expected value and argmax from logits (n, K)."""
        return ratings.from_logits(cast(Floats, raw), scale)

    def measures(self, questions: Questions, output: Output) -> list[Statistic]:
        """Return MAE, RMSE and accuracy."""
        return ratings.measures(questions, cast(RatingPredictions, output))

    def trivial(
        self, data: PreparedData, scale: RatingScale, questions: Questions, train: Questions
    ) -> dict[str, Output]:
        """Return the constant mode, the global mean and the item mean."""
        return {**ratings.trivial(scale, questions, train)}
