"""Turns questions into prompt sets: one task as one method reads it, on one data set and backbone."""

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
        key: the config key that it comes from, for messages.
    """

    template: Template
    key: str


@dataclass(frozen=True)
class Reading:
    """How a method reads the prompts of one task.

    Attributes:
        wordings: the wordings it reads, by version; it answers the first.
        ending: the common ending of all prompts, including the backbone's chat template.
        choices: the answer tokens of a `choice` task, None for others.
        find_title: whether batches include the token at which the candidate's title begins.
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
            UserError: the wordings have no common ending, or the tokenizer cannot tell the answers apart.
        """
        places = " and ".join(dict.fromkeys(wording.key for wording in wordings.values()))
        ending = common_ending([wording.template for wording in wordings.values()], places)
        ending = backbone.wrap(ending) if backbone.wrap else ending
        answers = task.choices
        choices = None if answers is None else resolve_choices(answers, backbone.tokenizer, ending)
        return cls(wordings, ending, choices, find_title)


class TaskPrompts:
    """Builds the prompt sets of one task.

    Args:
        data: the data set.
        task: what is asked.
        number: the task's number in batches.
        reading: how the method reads it.
        backbone: provides the tokenizer, the chat template and the context length.
        words: the data set's words for the templates' slots.
        history_length: number of history items that the encoder or the method needs.
        extra_slots: returns each question's additional slots, if a method's prompt has any.

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
            self.examples.titles(wording.template.title_tokens)  # logs what it changed, before any prompt

    def on(self, data: PreparedData) -> "TaskPrompts":
        """Return a copy for other histories of the same users and items."""
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
        """Return the prompts of `questions`, in their order, with everything else the model needs.

        Args:
            questions: questions of this task.
            version: one of the prompt versions that the method reads; by default the one it answers.
            with_answers: append text answers to the prompts, as for a loss; choices are never appended. The answer of a
                `candidates` task is the right title.
            advance: called with the number of prompts made.
            encoder_rows: the same questions with other users and positions, for the encoder's input and the additional
                slots; the rest of the prompts' text stays the same.

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
        """Tokenise answers as they follow the prompt, with an end-of-text token if the task has one."""
        end = self._end()
        room = self.task.answer_room - len(end)
        return [[*ids[:room], *end] for ids in continuations(self.tokenizer, self.reading.ending, answers)]

    def _end(self) -> list[int]:
        if not self.task.end_token:
            return []
        if self.tokenizer.eos_token_id is None:
            raise UserError(f"task {self.task.name}: this tokenizer has no end-of-text token: choose another backbone")
        return [self.tokenizer.eos_token_id]
