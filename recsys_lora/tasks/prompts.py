"""Questions become prompt sets: one task as one method reads it, on one data set and backbone."""

import copy
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recsys_lora.data.batch import PromptSet
from recsys_lora.data.prepared import PreparedData
from recsys_lora.llm.answer import ResolvedChoices, continuations, resolve_choices
from recsys_lora.llm.backbone import Backbone
from recsys_lora.prompts import encoded
from recsys_lora.prompts.encode import Encoder
from recsys_lora.prompts.template import Template
from recsys_lora.tasks.examples import Examples, ExtraSlots
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.task import Task, Version, common_ending
from recsys_lora.utils.console import Advance, no_display
from recsys_lora.utils.errors import UserError, at

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wording:
    """One wording of a task's prompt.

    Attributes:
        template: the wording.
        key: the config key that it is from, for messages.
    """

    template: Template
    key: str


@dataclass(frozen=True)
class Reading:
    """How a method reads the prompts of one task.

    Attributes:
        wordings: what it reads, by version; the first is what it answers.
        ending: what all prompts end in, the backbone's chat template included.
        choices: the tokens of the answers of a `choice` task, None for others.
        find_title: whether batches say at which token the candidate's title begins.
    """

    wordings: Mapping[Version, Wording]
    ending: str
    choices: ResolvedChoices | None
    find_title: bool = False

    @property
    def answered(self) -> Version:
        """The version that is answered."""
        return next(iter(self.wordings))

    @classmethod
    def of(
        cls, task: Task, wordings: Mapping[Version, Wording], backbone: Backbone, find_title: bool = False
    ) -> "Reading":
        """Find the answers' tokens.

        Raises:
            UserError: the wordings have no end in common, or the tokenizer cannot tell the answers apart.
        """
        places = " and ".join(dict.fromkeys(wording.key for wording in wordings.values()))
        ending = common_ending([wording.template for wording in wordings.values()], places)
        ending = backbone.wrap(ending) if backbone.wrap else ending
        answers = task.choices
        choices = None if answers is None else resolve_choices(answers, backbone.tokenizer, ending)
        return cls(wordings, ending, choices, find_title)


class TaskPrompts:
    """Makes the prompt sets of one task.

    Args:
        data: the data set.
        task: what is asked.
        number: the task's number in batches.
        reading: how the method reads it.
        backbone: whose tokenizer, chat template and context length hold.
        words: the data set's words for the templates' slots.
        history_length: items of history that the encoder, or what reads its vectors, needs.
        extra_slots: further slots a question, where a method's prompt has some.

    Raises:
        UserError: the data set has no titles.
    """

    def __init__(
        self,
        data: PreparedData,
        task: Task,
        number: int,
        reading: Reading,
        backbone: Backbone,
        words: Mapping[str, str],
        history_length: int,
        extra_slots: "Callable[[TaskPrompts, Questions], Iterable[ExtraSlots]]",
    ) -> None:
        if not any(data.titles):
            raise UserError(
                f"data={data.manifest.get('name', data.folder)} has no titles, which language models read: "
                "choose model=cf, or give the items a title"
            )
        self.data = data
        self.task = task
        self.number = number
        self.reading = reading
        self.history_length = history_length
        self.extra_slots = extra_slots
        self.tokenizer = backbone.tokenizer
        self.words = {**words, **task.slots}
        self.encoder = Encoder(
            tokenizer=self.tokenizer,
            words=self.words,
            max_tokens=backbone.context_length - task.answer_room,
            suffix=reading.choices.common_ids if reading.choices else (),
            wrap=backbone.wrap,
            soft_id=backbone.pad_id,
            find_title=reading.find_title,
        )
        self.examples = Examples(data, task, self.tokenizer, self.words)
        for wording in reading.wordings.values():
            self.examples.titles(wording.template.title_tokens)  # says at once what it had to change

    def on(self, data: PreparedData) -> "TaskPrompts":
        """Return a copy that makes prompts of other histories of the same users and items."""
        other = copy.copy(self)
        other.data = data
        other.examples = self.examples.on(data)
        return other

    def set(
        self,
        questions: Questions,
        version: Version | None = None,
        with_answers: bool = False,
        advance: Advance = no_display,
        encoder_rows: Questions | None = None,
    ) -> PromptSet:
        """Return the prompts of `questions`, in their order, beside what the model needs of them.

        Args:
            questions: of this task.
            version: which of the versions that the method reads; the one that it answers by default.
            with_answers: let text answers follow the prompts, as for a loss; choices never do. The answer of a
                `candidates` task is the right title.
            advance: is told how many have been made.
            encoder_rows: the same questions with other users and positions, from which the encoder's input and further
                slots are made; the rest of the prompts' text stays.

        Raises:
            UserError: the prompt's wording does not fit, or the tokenizer joins an answer with the prompt's end.
        """
        version = version or self.reading.answered
        wording, readers = self.reading.wordings[version], encoder_rows or questions
        with at(wording.key):
            examples = self.examples(questions, wording.template, self.extra_slots(self, readers))
            prompts = self.encoder.encode(wording.template, examples, advance)
        for reason, count in prompts.counts.items():
            log.info("%s, %s: %s: %d of %d", self.task.name, version, reason, count, len(questions))
        answers: list[list[int]] = [[]] * len(questions)
        if with_answers and self.task.kind != "choice":
            answers = self._answer_ids(self.right_answers(questions))
            prompts = encoded.with_answers(prompts, answers)
        return PromptSet(
            prompts=prompts,
            user=readers.user,
            items=questions.items,
            history=self.data.history.last(readers.user, readers.position, self.history_length),
            label=questions.label,
            target=questions.target,
            answer_tokens=np.array([len(answer) for answer in answers], dtype=np.int64),
            task=np.full(len(questions), self.number, dtype=np.int64),
            row=questions.row,
        )

    def continuations(self, questions: Questions) -> list[list[list[int]]]:
        """Return the token ids of every candidate's title, for each question; padding has none."""
        numbers = np.unique(questions.items[questions.items > 0])
        ids = dict(zip(numbers.tolist(), self._answer_ids([self._answer_title(n) for n in numbers]), strict=True))
        return [[ids[item] for item in row if item] for row in questions.items.tolist()]

    def right_answers(self, questions: Questions) -> list[str]:
        """Return the right answer of each question, as text."""
        if questions.answers is not None:
            return self.examples.clean(questions.answers)
        if (choices := self.task.choices) is not None:
            return [choices[target] for target in questions.target.tolist()]
        right = questions.items[np.arange(len(questions)), questions.target]
        return [self._answer_title(item) for item in right]

    def _answer_title(self, item: int) -> str:
        last = list(self.reading.wordings.values())[-1]
        return self.examples.titles(last.template.title_tokens)[item] or self.examples.unknown

    def _answer_ids(self, answers: Sequence[str]) -> list[list[int]]:
        """Tokenise answers as they follow the prompt, with the end of text after them where the task has it."""
        end = self._end()
        room = self.task.answer_room - len(end)
        return [[*ids[:room], *end] for ids in continuations(self.tokenizer, self.reading.ending, answers)]

    def _end(self) -> list[int]:
        if not self.task.end_token:
            return []
        if self.tokenizer.eos_token_id is None:
            raise UserError(f"task {self.task.name}: this tokenizer has no end-of-text token: choose another backbone")
        return [self.tokenizer.eos_token_id]
