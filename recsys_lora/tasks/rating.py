"""How many stars would this user give this item? From the probabilities of the scale's digits."""

from typing import ClassVar

from recsys_lora.data.prepared import PreparedData
from recsys_lora.data.schema import SplitName
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.ratings import RatingTask
from recsys_lora.tasks.selection import Limit, asked_rows, generator, sample


class Rating(RatingTask):
    """The rating of every labelled row; see `Task` for the arguments."""

    name: ClassVar[str] = "rating"

    def questions(self, data: PreparedData, split: SplitName, limit: Limit, seed: int) -> Questions:
        """Return a question for every row of the split."""
        rows, most = asked_rows(data, split, limit, seed, self.history_range)
        rows = rows.take(sample(len(rows), most, generator(self.name, split, seed)))
        return Questions.of(rows, self.scale.nearest(rows.rating), rows.rating)
