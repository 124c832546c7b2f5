"""How many stars did the user give with this review? The authors' fourth task."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from recsys_lora.data.prepared import PreparedData
from recsys_lora.data.schema import SplitName
from recsys_lora.errors import UserError
from recsys_lora.evaluation.statistics import Statistic
from recsys_lora.prompts.template import Template
from recsys_lora.tasks import ratings, reviews
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.scale import RatingScale
from recsys_lora.tasks.selection import Limit, asked_rows, generator, report_left_out, sample
from recsys_lora.tasks.task import Kind, Output, RatingPredictions, Raw, Task
from recsys_lora.types import NonNegativeFloat, PositiveInt

REVIEW = "review"


class ReviewRating(Task):
    """The rating that goes with a review.

    Args:
        text: see `Task`; the review fills the slot `{review}`.
        collaborative: see `Task`.
        scale: see `Task`.
        train_share: see `Task`.
        words: of the review at most.
    """

    name: ClassVar[str] = "review_rating"
    kind: Kind = "choice"

    def __init__(
        self,
        text: Template,
        collaborative: Template,
        *,
        scale: RatingScale,
        train_share: NonNegativeFloat = 1.0,
        words: PositiveInt = 100,
    ) -> None:
        super().__init__(text, collaborative, scale=scale, train_share=train_share)
        self.words = words

    @property
    def choices(self) -> tuple[str, ...]:
        """The scale's whole numbers."""
        return self.scale.choices

    def missing(self, data: PreparedData) -> str | None:
        """Say where a data set has no reviews."""
        return "no reviews" if reviews.column(data, REVIEW) is None else None

    def questions(self, data: PreparedData, split: SplitName, limit: Limit, seed: int) -> Questions:
        """Return a question for every row whose review is not empty.

        Raises:
            UserError: the data set has no reviews.
        """
        if reason := self.missing(data):
            raise UserError(f"task {self.name}: the data set has {reason}: leave the task out")
        rows, most = asked_rows(data, split, limit, seed)
        written = reviews.texts(data, rows, REVIEW, self.words)
        there = np.array([bool(review) for review in written], dtype=np.bool_)
        report_left_out(self.name, split, "empty review", int((~there).sum()), len(rows))
        places = np.flatnonzero(there)
        places = places[sample(len(places), most, generator(self.name, split, seed))]
        rows = rows.take(places)
        slots = tuple({REVIEW: written[place]} for place in places)
        return Questions.of(rows, self.scale.nearest(rows.rating), rows.rating, slots)

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
