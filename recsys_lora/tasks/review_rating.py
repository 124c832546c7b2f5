"""How many stars did the user give with this review? The authors' fourth task."""

from collections.abc import Sequence
from typing import ClassVar, cast

import numpy as np

from recsys_lora.data.prepared import PreparedData
from recsys_lora.data.schema import SplitName
from recsys_lora.errors import UserError
from recsys_lora.evaluation.statistics import Statistic
from recsys_lora.prompts.template import Template
from recsys_lora.tasks import ratings, reviews
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.scale import RatingScale
from recsys_lora.tasks.task import Floats, Kind, Output, RatingPredictions, Task, generator, report_left_out, sample
from recsys_lora.types import NonNegativeFloat, PositiveInt

REVIEW = "review"


class ReviewRating(Task):
    """The rating that goes with a review.

    Args:
        text: see `Task`; the review fills the slot `{review}`.
        collaborative: see `Task`.
        train_share: see `Task`.
        words: of the review at most.
    """

    name: ClassVar[str] = "review_rating"
    kind: Kind = "choice"

    def __init__(
        self,
        text: Template,
        collaborative: Template,
        train_share: NonNegativeFloat = 1.0,
        words: PositiveInt = 100,
    ) -> None:
        super().__init__(text, collaborative, train_share)
        self.words = words

    def choices(self, scale: RatingScale) -> tuple[str, ...]:
        """Return the scale's whole numbers."""
        return scale.choices

    def missing(self, data: PreparedData) -> str | None:
        """Say where a data set has no reviews."""
        return "no reviews" if reviews.column(data, REVIEW) is None else None

    def questions(
        self, data: PreparedData, scale: RatingScale, split: SplitName, limit: int | None, seed: int
    ) -> Questions:
        """Return a question for every row whose review is not empty.

        Raises:
            UserError: the data set has no reviews.
        """
        if reason := self.missing(data):
            raise UserError(f"task {self.name}: the data set has {reason}: leave the task out")
        rows = data.rows(split)
        written = reviews.texts(data, rows, REVIEW, self.words)
        there = np.array([bool(review) for review in written], dtype=np.bool_)
        report_left_out(self.name, split, "empty review", int((~there).sum()), len(rows))
        places = np.flatnonzero(there)
        places = places[sample(len(places), limit, generator(self.name, split, seed))]
        rows = rows.take(places)
        slots = tuple({REVIEW: written[place]} for place in places)
        return Questions.of(rows, scale.nearest(rows.rating), rows.rating, slots)

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
