"""How many stars did the user give with this review? The authors' fourth task."""

from typing import ClassVar, Unpack

import numpy as np

from recsys_lora.data.prepared import PreparedData
from recsys_lora.data.schema import SplitName
from recsys_lora.tasks import reviews
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.ratings import RatingTask
from recsys_lora.tasks.selection import Limit, asked_rows, generator, report_left_out, sample
from recsys_lora.tasks.task import TaskOptions
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.types import PositiveInt

_REVIEW = "review"


class ReviewRating(RatingTask):
    """The rating that goes with a review.

    Args:
        words: of the review at most.
        options: see `TaskOptions`; the review fills the slot `{review}`.
    """

    name: ClassVar[str] = "review_rating"

    def __init__(self, *, words: PositiveInt = 100, **options: Unpack[TaskOptions]) -> None:
        super().__init__(**options)
        self.words = words

    def missing(self, data: PreparedData) -> str | None:
        """Say where a data set has no reviews."""
        return "no reviews" if reviews.column(data, _REVIEW) is None else None

    def questions(self, data: PreparedData, split: SplitName, limit: Limit, seed: int) -> Questions:
        """Return a question for every row whose review is not empty.

        Raises:
            UserError: the data set has no reviews.
        """
        if reason := self.missing(data):
            raise UserError(f"task {self.name}: the data set has {reason}: leave the task out")
        rows, most = asked_rows(data, split, limit, seed)
        written = reviews.texts(data, rows, _REVIEW, self.words)
        there = np.array([bool(review) for review in written], dtype=np.bool_)
        report_left_out(self.name, split, "empty review", int((~there).sum()), len(rows), self.logged)
        places = np.flatnonzero(there)
        places = places[sample(len(places), most, generator(self.name, split, seed))]
        rows = rows.take(places)
        slots = tuple({_REVIEW: written[place]} for place in places)
        return Questions.of(rows, self.scale.nearest(rows.rating), rows.rating, slots)
