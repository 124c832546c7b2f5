"""The base class of all tasks. A new task is one class and one yaml in `conf/task` (docs/adding_a_task.md)."""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, ClassVar, Literal, NotRequired, TypedDict, get_args

import numpy as np
from numpy.typing import NDArray

from recsys_lora.data.prepared import PreparedData
from recsys_lora.data.schema import SplitName
from recsys_lora.evaluation.statistics import Statistic
from recsys_lora.prompts.template import Template
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.scale import RatingScale
from recsys_lora.tasks.selection import HistoryRange, Limit
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.types import NonNegativeFloat
from recsys_lora.utils.words import shared_start

Kind = Literal["choice", "candidates", "text"]
Version = Literal["text", "collaborative"]
_VERSIONS: tuple[Version, ...] = get_args(Version)
CTR, USER, ITEM = "ctr", "user", "item"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RatingPredictions:
    """Predicted ratings, in the scale's units.

    Attributes:
        expected: (n,) the mean over the choices under the model's probabilities.
        argmax: (n,) the most probable choice.
    """

    expected: Floats
    argmax: Floats


Output = Floats | RatingPredictions | Sequence[str]
"""Predictions in a task's own form: scores (n,) or (n, C), ratings, or texts."""
Raw = Floats | Sequence[str]
"""A model's raw output: scores (n,), logits (n, K), candidates' scores (n, C), or n texts."""


class TaskOptions(TypedDict):
    """Arguments of all tasks.

    Attributes:
        text: the text-only prompt.
        collaborative: the prompt with the soft tokens <user> and, after it, <item> (once per candidate).
        scale: the data set's ratings.
        train_share: the task's weight in batches that mix tasks.
    """

    text: Template
    collaborative: Template
    scale: RatingScale
    train_share: NotRequired[NonNegativeFloat]


class RangedOptions(TaskOptions):
    """`TaskOptions` for a task that can be limited to rows with histories of some length.

    Attributes:
        history_range: minimum and maximum number of earlier positives of a question's row, in every split; None for any
            number.
    """

    history_range: NotRequired[HistoryRange | None]


class Task:
    """The base class of all tasks; its arguments are those of `RangedOptions`.

    Attributes:
        name: its name in tables and configs.
        kind: how it is answered: by one token of a few (`choice`: logits (n, K)), by the log-likelihood of each
            candidate's title (`candidates`: (n, C), -inf at padding), or by free text (`text`: n strings).
        is_binary: whether the choices are Yes and No, in this order, with one score (n,) for both logits; the loss is
            the binary cross-entropy of that score and the label.
        encoder_answers: whether a collaborative encoder's own scores answer the question.
        stacked: names of the baselines that a stack combines with the encoder and the method; all have scores, (n,) for
            a yes-or-no task or (n, C) for candidates. Empty if the task has no stacks.
        candidates: how many candidates a prompt shows.
        length_normalised: whether a title's log-likelihood is the mean over its tokens, or their sum.

    Raises:
        UserError: the two prompts end differently, or the soft tokens are not those above.
    """

    name: ClassVar[str]
    kind: Kind
    is_binary: ClassVar[bool] = False
    encoder_answers: ClassVar[bool] = False
    stacked: ClassVar[tuple[str, ...]] = ()
    candidates: int = 1
    length_normalised: bool = True

    def __init__(
        self,
        text: Template,
        collaborative: Template,
        *,
        scale: RatingScale,
        train_share: NonNegativeFloat = 1.0,
        history_range: HistoryRange | None = None,
    ) -> None:
        self.text = text
        self.collaborative = collaborative
        self.scale = scale
        self.train_share = train_share
        self.history_range = history_range
        self.logged: set[str] = set()  # remarks on rows, which training and testing share
        common_ending([text, collaborative], f"task {self.name}")
        if text.soft_names or collaborative.soft_names != [USER, ITEM]:
            raise UserError(
                f"task {self.name}: the soft tokens of text are {text.soft_names} and of collaborative "
                f"{collaborative.soft_names}: the first has none, the second <{USER}> and then <{ITEM}>"
            )

    # Overridden by tasks

    @property
    def answer_room(self) -> int:
        """Maximum number of tokens of a text answer, including its end; 0 for choices."""
        return 0

    @property
    def end_token(self) -> bool:
        """Whether text answers end with the tokenizer's end-of-text token."""
        return True

    @property
    def choices(self) -> tuple[str, ...] | None:
        """The K answers of a `choice` task, None for others."""
        return None

    @property
    def slots(self) -> dict[str, str]:
        """Words for the prompts' slots, besides the data set's own: `{lowest}` and `{highest}` of the scale."""
        return self.scale.words

    def missing(self, data: PreparedData) -> str | None:
        """Return why the task cannot be asked on a data set ("no reviews"), None if it can."""
        return None

    def questions(self, data: PreparedData, split: SplitName, limit: Limit, seed: int) -> Questions:
        """Return the questions of a split, the same ones for the same seed.

        Args:
            data: the data set.
            split: the split.
            limit: maximum number of questions, sampled and in their original order. Questions that belong together (a
                positive and its sampled negatives) stay together.
            seed: decides the sample and all other draws.

        Raises:
            UserError: the data do not allow it.
        """
        raise NotImplementedError

    def item_questions(self, train: Questions) -> Questions:
        """Return one question per item, without a user, labelled with the item's share of positives.

        Raises:
            UserError: the task asks no yes-or-no questions.
        """
        raise UserError(f"model.train_on=items: {self.name} asks no yes-or-no questions: set model.train_on=rows")

    def check(self, questions: Questions, split: SplitName) -> None:
        """Reject questions that a model cannot be trained or selected on.

        Raises:
            UserError: the questions are of that kind.
        """

    def predict(self, raw: Raw, questions: Questions) -> Output:
        """Turn a model's raw output (see `kind`) into predictions in the task's own form."""
        return raw

    def from_encoder(self, scores: Floats) -> Output:
        """Turn an encoder's logits (n, C), -inf at padding, into predictions; called only if `encoder_answers`."""
        raise NotImplementedError

    def averaged(self, outputs: Sequence[Output]) -> Output | None:
        """Return one prediction per question for several seeds of one model; None if there is no mean."""
        return None

    def metrics(self, questions: Questions, output: Output) -> list[Statistic]:
        """Return the task's metrics of predictions; the first two represent it in short tables."""
        raise NotImplementedError

    def remarks(self, questions: Questions, output: Output) -> dict[str, str]:
        """Return the notes needed to interpret metrics, by the metrics' names."""
        return {}

    def baselines(self, data: PreparedData, questions: Questions, train: Questions) -> dict[str, Output]:
        """Return the predictions of baselines that at most count training questions, by name.

        Args:
            data: the data set.
            questions: what is predicted.
            train: the task's training questions.
        """
        raise NotImplementedError

    def template(self, version: Version) -> Template:
        """Return one of the two prompts."""
        return self.text if version == "text" else self.collaborative


def common_ending(templates: Sequence[Template], place: str) -> str:
    """Return the common ending of all prompts of a task, which its answers follow.

    Args:
        templates: the wordings.
        place: where they come from, for the message.

    Raises:
        UserError: they have no words in common at their end.
    """
    endings = [ending for template in templates for ending in template.endings]
    backwards = [text[::-1] for text in endings]
    ending = backwards[0][: shared_start(backwards)][::-1]
    if not ending.strip():
        raise UserError(
            f"{place}: its prompts end in {endings}: let all end in the same words after the last slot, for all are "
            "answered by the same tokens"
        )
    return ending


def select(output: Output, index: NDArray[Any]) -> Output:
    """Return the predictions at `index` (indices or a mask), in that order."""
    if isinstance(output, RatingPredictions):
        return RatingPredictions(output.expected[index], output.argmax[index])
    if isinstance(output, np.ndarray):
        return np.asarray(output[index])
    places = np.flatnonzero(index) if index.dtype == np.bool_ else index
    return [output[int(place)] for place in places]


def letter(place: int) -> str:
    """Return the letters of a number from 0: A, B, ... Z, AA, AB, ..."""
    before, last = divmod(place, len(ascii_uppercase))
    return (letter(before - 1) if before else "") + ascii_uppercase[last]
