"""Why does this user give this item this rating? Free text; what the user wrote is the reference.

The user's rating is given, the review is not: the reverse of the authors' task (`review_rating`).
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar, Literal, Unpack

import numpy as np

from recsys_lora.data.prepared import PreparedData
from recsys_lora.data.schema import SplitName
from recsys_lora.evaluation.statistics import Mean, ScalarMetric, Statistic
from recsys_lora.evaluation.text import bleu, distinct, empty_share, most_common_share, repeated_share, rouge_l
from recsys_lora.tasks import reviews
from recsys_lora.tasks.examples import RATING
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.selection import Limit
from recsys_lora.tasks.task import Kind, Output, RatingPredictions, Task, TaskOptions
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.types import PositiveInt

Reference = Literal["summary", "review"]


class Explanation(Task):
    """Write what the user would: the review's summary or its opening.

    Args:
        reference: `summary`, or `review` for the review's opening.
        words: maximum number of words of the reference.
        answer_tokens: maximum number of tokens of an answer, in training and in decoding, including its end.
        options: see `TaskOptions`; the rating fills the slot `{rating}`.
    """

    name: ClassVar[str] = "explanation"
    kind: Kind = "text"

    def __init__(
        self,
        *,
        reference: Reference = "summary",
        words: PositiveInt = 30,
        answer_tokens: PositiveInt = 48,
        **options: Unpack[TaskOptions],
    ) -> None:
        super().__init__(**options)
        self.reference = reference
        self.words = words
        self.answer_tokens = answer_tokens

    @property
    def answer_room(self) -> int:
        """Maximum number of tokens of an answer."""
        return self.answer_tokens

    def missing(self, data: PreparedData) -> str | None:
        """Return "no summaries" or "no reviews" if a data set has none."""
        return reviews.missing(data, self.reference)

    def questions(self, data: PreparedData, split: SplitName, limit: Limit, seed: int) -> Questions:
        """Return a question for every row whose reference is not empty.

        Raises:
            UserError: the data set has no such texts.
        """
        rows, answers = reviews.asked_texts(self, data, split, limit, seed, self.reference, self.words)
        slots = tuple({RATING: self.scale.write(rating)} for rating in rows.rating)
        return Questions.of(rows, np.full(len(rows), -1), rows.rating, slots, tuple(answers))

    def metrics(self, questions: Questions, output: Output) -> list[Statistic]:
        """Return BLEU, ROUGE-L, distinct-1 and -2 and the shares of empty and repeated outputs."""
        hypotheses, references = texts_of(output), list(questions.answers or ())
        corpus = {
            "bleu": bleu(hypotheses, references)[0],
            "distinct_1": distinct(hypotheses, 1),
            "distinct_2": distinct(hypotheses, 2),
            "empty_share": empty_share(hypotheses),
            "repeated_share": repeated_share(hypotheses),
            "most_common_share": most_common_share(hypotheses),
        }
        rouge = Mean("rouge_l", questions.user, rouge_l(hypotheses, references))
        return [rouge, *(_scalar(name, value, hypotheses) for name, value in corpus.items())]

    def remarks(self, questions: Questions, output: Output) -> dict[str, str]:
        """Return BLEU's signature."""
        return {"bleu": bleu(texts_of(output), list(questions.answers or ()))[1]}

    def baselines(self, data: PreparedData, questions: Questions, train: Questions) -> dict[str, Output]:
        """Return the most common training text for all, and the most common one for each rating.

        Raises:
            UserError: there are no training questions.
        """
        if not train.answers:
            raise UserError(f"train: no {self.reference} to count the most common of: check the data's split")
        most = Counter(train.answers).most_common(1)[0][0]
        by_rating: dict[float, Counter[str]] = {}
        for rating, answer in zip(train.label.tolist(), train.answers, strict=True):
            by_rating.setdefault(rating, Counter())[answer] += 1
        common = {rating: counts.most_common(1)[0][0] for rating, counts in by_rating.items()}
        return {
            "most_common": [most] * len(questions),
            "most_common_of_rating": [common.get(rating, most) for rating in questions.label.tolist()],
        }


def texts_of(output: Output) -> list[str]:
    """Return predictions that are texts.

    Raises:
        TypeError: they are not texts.
    """
    if isinstance(output, np.ndarray | RatingPredictions):
        raise TypeError(f"texts are needed, not {type(output).__name__}")
    return list(output)


def _scalar(name: str, value: float, texts: Sequence[str]) -> ScalarMetric:
    if math.isnan(value):
        return ScalarMetric(name, None, reason="no texts are long enough" if texts else "no rows")
    return ScalarMetric(name, value, higher_is_better=name in ("bleu", "distinct_1", "distinct_2"))
