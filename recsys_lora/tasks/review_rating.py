"""How many stars did the user give with this review? The authors' fourth task."""

from typing import ClassVar, Unpack

from recsys_lora.data.prepared import PreparedData
from recsys_lora.data.schema import SplitName
from recsys_lora.tasks import reviews
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.rating import RatingTask
from recsys_lora.tasks.selection import Limit
from recsys_lora.tasks.task import TaskOptions
from recsys_lora.utils.types import PositiveInt

_REVIEW = "review"


class ReviewRating(RatingTask):
    """The rating that goes with a review.

    Args:
        words: maximum number of words of the review.
        options: see `TaskOptions`; the review fills the slot `{review}`.
    """

    name: ClassVar[str] = "review_rating"

    def __init__(self, *, words: PositiveInt = 100, **options: Unpack[TaskOptions]) -> None:
        super().__init__(**options)
        self.words = words

    def missing(self, data: PreparedData) -> str | None:
        """Return "no reviews" if a data set has none."""
        return reviews.missing(data, _REVIEW)

    def questions(self, data: PreparedData, split: SplitName, limit: Limit, seed: int) -> Questions:
        """Return a question for every row whose review is not empty.

        Raises:
            UserError: the data set has no reviews.
        """
        rows, written = reviews.asked_texts(self, data, split, limit, seed, _REVIEW, self.words)
        slots = tuple({_REVIEW: review} for review in written)
        return Questions.of(rows, self.scale.nearest(rows.rating), rows.rating, slots)
