"""Questions become prompt sets: one task, one data set, one backbone."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from recsys_lora.data.batch import PromptSet
from recsys_lora.data.history import History
from recsys_lora.data.prepared import PreparedData
from recsys_lora.errors import UserError, at
from recsys_lora.llm.answer import ChoiceAnswer, ResolvedChoices
from recsys_lora.llm.backbone import Backbone
from recsys_lora.prompts import encoded
from recsys_lora.prompts.encode import Encoder
from recsys_lora.prompts.template import TITLE, Example
from recsys_lora.prompts.titles import prompt_titles
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.scale import RatingScale
from recsys_lora.tasks.task import VERSIONS, Task, Version, letter

log = logging.getLogger(__name__)
RATING, LETTER = "rating", "letter"


class TaskPrompts:
    """Makes the prompt sets of one task.

    Args:
        data: the data set.
        task: what is asked.
        number: the task's number in batches.
        backbone: whose tokenizer, chat template and context length hold.
        words: the data set's words for the templates' slots.
        scale: its ratings.
        history_length: items of history that the collaborative encoder and the meta-network read.

    Attributes:
        choices: the tokens of the answers of a `choice` task, None for others.

    Raises:
        UserError: the data set has no titles, or the tokenizer cannot tell the answers apart.
    """

    def __init__(
        self,
        data: PreparedData,
        task: Task,
        number: int,
        backbone: Backbone,
        words: Mapping[str, str],
        scale: RatingScale,
        history_length: int,
    ) -> None:
        if not any(data.titles):
            name = data.manifest.get("name", data.folder)
            raise UserError(f"data={name} has no titles, which language models read: give the items a title")
        self.data, self.task, self.number, self.history_length = data, task, number, history_length
        self.tokenizer = backbone.tokenizer
        self.ending = backbone.wrap(task.ending) if backbone.wrap else task.ending
        answers = task.choices(scale)
        self.choices: ResolvedChoices | None = (
            None if answers is None else ChoiceAnswer(answers).resolve(self.tokenizer, self.ending)
        )
        self.words = {**words, **task.slots(scale)}
        self.encoder = Encoder(
            tokenizer=self.tokenizer,
            words=self.words,
            max_tokens=backbone.context_length - task.answer_room,
            suffix=self.choices.common_ids if self.choices else (),
            wrap=backbone.wrap,
            soft_id=backbone.pad_id,
        )
        self.unknown = f"unknown {words.get('item', 'item')}"
        self.titles = {version: self._titles(task.template(version).title_tokens) for version in VERSIONS}
        # The place of each positive in its user's history, and what it was rated.
        self._places = History(data.history.offsets, np.arange(1, len(data.history.items) + 1))
        liked = data.interactions["rating"].to_numpy()[data.interactions["label"].to_numpy() > 0]
        self._liked = ["", *map(scale.write, liked.tolist())]

    def set(self, questions: Questions, version: Version, with_answers: bool, show: bool = True) -> PromptSet:
        """Return the prompts of `questions`, in their order, beside what the model needs of them.

        Args:
            questions: of this task.
            version: which of the task's two prompts.
            with_answers: let text answers follow the prompts, as for a loss; choices never do. The answer of a
                `candidates` task is the right title.
            show: show progress.

        Raises:
            UserError: the prompt's wording does not fit, or the tokenizer joins an answer with the prompt's end.
        """
        template = self.task.template(version)
        with at(f"model.tasks.{self.task.name}.{version}"):
            prompts = self.encoder.encode(template, self._examples(questions, version), len(questions), show)
        for reason, count in prompts.counts.items():
            log.info("%s, %s: %s: %d of %d", self.task.name, version, reason, count, len(questions))
        answers: list[list[int]] = [[]] * len(questions)
        if with_answers and self.task.kind != "choice":
            answers = self._answer_ids(self._right_answers(questions))
            prompts = encoded.with_answers(prompts, answers)
        return PromptSet(
            prompts=prompts,
            user=questions.user,
            items=questions.items,
            history=self.data.history.last(questions.user, questions.position, self.history_length),
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

    def _right_answers(self, questions: Questions) -> list[str]:
        if questions.answers is not None:
            return self._clean(questions.answers)
        right = questions.items[np.arange(len(questions)), questions.target]
        return [self._answer_title(item) for item in right]

    def _answer_title(self, item: int) -> str:
        return self.titles["text"][item] or self.unknown

    def _answer_ids(self, answers: Sequence[str]) -> list[list[int]]:
        """Tokenise answers as they follow the prompt, with the end of text after them where the task has it."""
        separator = "" if self.ending[-1:].isspace() else " "
        texts = [self.ending + separator + answer for answer in answers]
        begin: list[int] = self.tokenizer(self.ending, add_special_tokens=False)["input_ids"]
        room, end = self.task.answer_room, self._end()
        result = []
        tokens = self.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
        for text, ids in zip(answers, tokens, strict=True):
            if ids[: len(begin)] != begin:
                raise UserError(
                    f"answer {text[:40]!r}: this tokenizer joins it with the end of the prompt {self.ending[-20:]!r}: "
                    "let the prompt end in a punctuation mark, without white space"
                )
            result.append([*ids[len(begin) :][: room - len(end)], *end])
        return result

    def _end(self) -> list[int]:
        if not self.task.end_token:
            return []
        if self.tokenizer.eos_token_id is None:
            raise UserError(f"task {self.task.name}: this tokenizer has no end-of-text token: choose another backbone")
        return [self.tokenizer.eos_token_id]

    def _examples(self, questions: Questions, version: Version) -> Iterator[Example]:
        titles = self.titles[version]
        shown = self.task.template(version).history_items
        places = self._places.last(questions.user, questions.position, shown)  # (n, items), 0 where there is none
        names = sorted({name for texts in questions.texts for name in texts})
        cleaned = {name: iter(self._clean([texts[name] for texts in questions.texts])) for name in names}
        for row, earlier in zip(questions.items.tolist(), places.tolist(), strict=True):
            history = [
                {TITLE: titles[self.data.history.items[place - 1]], RATING: self._liked[place]}
                for place in earlier
                if place
            ]
            texts = {TITLE: titles[row[0]], **{name: next(values) for name, values in cleaned.items()}}
            candidates = [{TITLE: titles[item], LETTER: letter(place)} for place, item in enumerate(row) if item]
            yield Example(history, texts, candidates)

    def _titles(self, tokens: int) -> list[str]:
        titles, counts = prompt_titles(self.data.titles, self.tokenizer, tokens, self.unknown)
        for reason, count in counts.items():
            log.info("%s: %s: %d of %d", self.task.name, reason, count, self.data.num_items)
        return titles

    def _clean(self, texts: Sequence[str]) -> list[str]:
        """Make review texts fit for prompts, as titles are, at any length."""
        whole = max(map(len, texts), default=0) + 1
        cleaned: tuple[list[str], Counter[str]] = prompt_titles(["", *texts], self.tokenizer, whole, "")
        return cleaned[0][1:]
