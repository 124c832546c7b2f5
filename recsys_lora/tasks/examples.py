"""The content of prompts: titles, histories, candidates, attributes and additional texts."""

import copy
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from recsys_lora.data.prepared import PreparedData
from recsys_lora.data.rated import RatedHistory
from recsys_lora.data.slots import AttributeSlots, attribute_slots
from recsys_lora.prompts.slots import TITLE, slots
from recsys_lora.prompts.template import Example, Template
from recsys_lora.prompts.titles import prompt_titles
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.task import Task, letter

log = logging.getLogger(__name__)
RATING, _LETTER = "rating", "letter"

ExtraSlots = Mapping[str, str | Sequence[str]]
"""Additional slots of one prompt; a sequence has one text per candidate."""


class Examples:
    """Builds the examples of one task's prompts.

    Args:
        data: the data set.
        task: what is asked.
        tokenizer: truncates titles.
        words: the data set's words and the task's, for the templates' slots.
    """

    def __init__(self, data: PreparedData, task: Task, tokenizer: Any, words: Mapping[str, str]) -> None:
        self.data = data
        self.task = task
        self.tokenizer = tokenizer
        self.words = words
        self.unknown = f"unknown {words.get('item', 'item')}"
        self._titles: dict[int, list[str]] = {}
        self._attributes: dict[Template, AttributeSlots] = {}
        self._rated = RatedHistory(data)

    def on(self, data: PreparedData) -> "Examples":
        """Return a copy for other histories of the same users and items."""
        other = copy.copy(self)
        other.data = data
        other._rated = self._rated.on(data)
        return other

    def __call__(self, questions: Questions, template: Template, extra: Iterable[ExtraSlots]) -> Iterator[Example]:
        """Yield each question's example for a template, with its additional slots."""
        titles, known = self.titles(template.title_tokens), self._attributes_of(template)
        earlier = self._earlier(questions, template)
        names = sorted({name for texts in questions.texts for name in texts})
        cleaned = {name: iter(self.clean([texts[name] for texts in questions.texts])) for name in names}
        asked = zip(questions.user.tolist(), questions.items.tolist(), earlier, extra, strict=True)
        for user, row, shown, further in asked:
            history = [{**known.item[item], TITLE: titles[item], **more} for item, more in shown]
            own = {name: text if isinstance(text, str) else text[0] for name, text in further.items()}
            texts = {**known.user[user], **known.item[row[0]], TITLE: titles[row[0]]}
            texts |= {name: next(values) for name, values in cleaned.items()} | own
            of_each = {name: text for name, text in further.items() if not isinstance(text, str)}
            candidates = [
                {**known.item[item], TITLE: titles[item], _LETTER: letter(place)}
                | {name: texts[place] for name, texts in of_each.items()}
                for place, item in enumerate(row)
                if item
            ]
            yield Example(history, texts, candidates)

    def titles(self, tokens: int) -> list[str]:
        """Return the titles by item number, each of at most that many tokens."""
        if tokens not in self._titles:
            titles, counts = prompt_titles(self.data.titles, self.tokenizer, tokens, self.unknown)
            for reason, count in counts.items():
                log.info("%s: %s: %d of %d", self.task.name, reason, count, self.data.num_items)
            self._titles[tokens] = titles
        return self._titles[tokens]

    def clean(self, texts: Sequence[str]) -> list[str]:
        """Clean review texts for prompts, like titles, but at any length."""
        whole = max(map(len, texts), default=0) + 1
        cleaned: tuple[list[str], Counter[str]] = prompt_titles(["", *texts], self.tokenizer, whole, "")
        return cleaned[0][1:]

    def _earlier(self, questions: Questions, template: Template) -> Iterator[list[tuple[int, dict[str, str]]]]:
        """Yield the items of each question's history, oldest first, each with its rating if the template shows it."""
        items, ratings, position = self.data.history, self.data.history_ratings, questions.position
        if template.history == "rated" and not self.data.manifest.get("negatives"):
            items, ratings, position = self._rated.items, self._rated.ratings, self._rated.position(questions)
        window = questions.user, position, template.history_items
        shown = items.last(*window).tolist()
        if RATING not in slots(template.item):
            for row in shown:
                yield [(item, {}) for item in row if item]
            return
        write = self.task.scale.write
        for row, given in zip(shown, ratings.last(*window).tolist(), strict=True):
            yield [(item, {RATING: write(rating)}) for item, rating in zip(row, given, strict=True) if item]

    def _attributes_of(self, template: Template) -> AttributeSlots:
        """Return the values of a template's item and user attribute slots; the data set's words take precedence."""
        if template not in self._attributes:
            parts = (template.text, template.no_history, template.item, template.candidate or "")
            names = {name for part in parts for name in slots(part)} - set(self.words)
            found = attribute_slots(self.data, names, self.tokenizer, template.title_tokens)
            for reason, count in found.counts.items():
                log.info("%s: %s: %d", self.task.name, reason, count)
            self._attributes[template] = found
        return self._attributes[template]
