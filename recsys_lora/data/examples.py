"""Rows of a prepared data set become prompts: titles of the history, title of the candidate, the data set's words."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import repeat

import numpy as np

from recsys_lora.data.batch import PromptSet
from recsys_lora.data.prepared import PreparedData, Rows
from recsys_lora.errors import UserError, at
from recsys_lora.prompts.encode import Encoder
from recsys_lora.prompts.template import TITLE, Example, Template
from recsys_lora.prompts.titles import prompt_titles

log = logging.getLogger(__name__)

YES, NO = 0, 1
"""The places of the two answers among the choices."""
MoreTexts = Callable[[PreparedData, Rows], Iterable[Mapping[str, str]]]


class PromptBuilder:
    """Makes the prompt set of any rows of one data set, for one method and backbone.

    Args:
        data: the data set.
        template: the prompt's wording.
        encoder: tokenises; knows the data set's words.
        history_length: items of history that the collaborative encoder reads.
        more_texts: further slots a row, where a method's prompt has some.

    Raises:
        UserError: the data set has no titles.
    """

    def __init__(
        self,
        data: PreparedData,
        template: Template,
        encoder: Encoder,
        history_length: int = 0,
        more_texts: MoreTexts | None = None,
    ) -> None:
        if not any(data.titles):
            raise UserError(
                f"data={data.manifest.get('name', data.folder)} has no titles, which language models read: "
                "choose model=cf, or give the items a title"
            )
        self.data, self.template, self.encoder = data, template, encoder
        self.history_length, self.more_texts = history_length, more_texts
        unknown = f"unknown {encoder.words.get('item', 'item')}"
        titles, counts = prompt_titles(data.titles, encoder.tokenizer, template.title_tokens, unknown)
        self.slots = [{TITLE: title} for title in titles]
        for reason, count in counts.items():
            log.info("%s: %d of %d", reason, count, data.num_items)

    def __call__(self, rows: Rows, show: bool = True, taste: Rows | None = None) -> PromptSet:
        """Return the prompts of `rows`, in their order, beside what the collaborative encoder reads.

        Args:
            rows: n rows.
            show: show progress.
            taste: the same rows with other users and positions, whose taste is then shown to the encoder and to
                whatever writes further texts, while history and titles stay; the rows themselves by default.
        """
        taste = rows if taste is None else taste
        with at("model.prompt"):
            prompts = self.encoder.encode(self.template, self.examples(rows, taste), len(rows), show)
        for reason, count in prompts.counts.items():
            log.info("%s: %d of %d", reason, count, len(rows))
        return PromptSet(
            prompts=prompts,
            user=taste.user.astype(np.int64),
            items=rows.item.astype(np.int64)[:, None],
            history=self.data.history.last(taste.user, taste.position, self.history_length),
            label=rows.label.astype(np.float32),
            target=np.where(rows.label > 0, YES, NO),
            answer_tokens=np.zeros(len(rows), dtype=np.int64),
            task=np.zeros(len(rows), dtype=np.int64),
            row=rows.row.astype(np.int64),
        )

    def examples(self, rows: Rows, taste: Rows) -> Iterator[Example]:
        """Yield what each row offers to the template; `taste` as in `__call__`."""
        shown = self.data.history.last(rows.user, rows.position, self.template.history_items)  # (n, items)
        more: Iterable[Mapping[str, str]] = repeat({}, len(rows))
        if self.more_texts:
            more = self.more_texts(self.data, taste)
        for item, history, texts in zip(rows.item.tolist(), shown, more, strict=True):
            earlier = [self.slots[index] for index in history.tolist() if index]
            yield Example(earlier, {**self.slots[item], **texts})
