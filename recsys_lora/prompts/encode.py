"""Tokenisation of examples into prompts: once per run, in bulk.

A prompt that is too long loses its oldest history items one by one, then the end of its title; the wording of the
question is never cut. Both are counted.

The start of a title is found by tokenising the text before it once more: up to there, a prompt's tokens are the same
for every title, and a token that spans the boundary belongs to the title.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys_lora.prompts.encoded import EncodedPrompts, flat
from recsys_lora.prompts.slots import SOFT, TITLE, TITLE_MARK
from recsys_lora.prompts.template import Example, Template
from recsys_lora.prompts.titles import first_tokens
from recsys_lora.utils.console import Advance, no_display
from recsys_lora.utils.errors import UserError

_CHUNK = 2048
SHORTENED = "prompts with a shortened history"
CUT_TITLE = "prompts with a cut title"
CUT_TEXT = "prompts with a cut text"


@dataclass(frozen=True)
class Encoder:
    """Turns examples into token ids for one backbone.

    Attributes:
        tokenizer: a transformers tokenizer.
        words: the data set's words for the template's slots.
        max_tokens: tokens of the longest prompt that the backbone can read.
        suffix: tokens that follow every prompt (the common start of all answers).
        wrap: puts a prompt into the backbone's chat template; None leaves it as it is.
        soft_id: a token id used as the placeholder of soft tokens.
        find_title: find the token at which each prompt's title begins, which takes as long again.
    """

    tokenizer: Any
    words: Mapping[str, str]
    max_tokens: int
    suffix: Sequence[int] = ()
    wrap: Callable[[str], str] | None = None
    soft_id: int = 0
    find_title: bool = False

    def encode(self, template: Template, examples: Iterable[Example], advance: Advance = no_display) -> EncodedPrompts:
        """Tokenise all examples.

        Args:
            template: their wording.
            examples: what fills its slots, read once.
            advance: called with the number of examples just done.

        Raises:
            UserError: the template alone is longer than a prompt may be.
        """
        limit = min(template.max_tokens or self.max_tokens, self.max_tokens) - len(self.suffix)
        counts: Counter[str] = Counter()
        encoded: list[NDArray[np.int32]] = []
        starts: list[int] | None = [] if self.find_title else None
        for chunk in _chunks(examples, _CHUNK):
            texts = [self._render(template, example) for example in chunk]
            tokens = self.tokenise(texts)
            long = [index for index, ids in enumerate(tokens) if len(ids) > limit]
            for index in long:
                texts[index], tokens[index] = self._shorten(template, chunk[index], limit, counts)
            if starts is not None:
                starts += self.title_starts(texts, tokens)
            encoded.extend(np.array([*ids, *self.suffix], dtype=np.int32) for ids in tokens)
            advance(len(chunk), "")
        return flat(encoded, self.soft_id, counts, starts)

    def tokenise(self, prompts: Sequence[str]) -> list[list[int]]:
        """Return the ids of rendered prompts; a soft token is -1, and title marks are left out."""
        return self._ids([text.replace(TITLE_MARK, "") for text in self._wrapped(prompts)])

    def title_starts(self, prompts: Sequence[str], tokens: Sequence[list[int]]) -> list[int]:
        """Return the token at which each prompt's first title begins.

        Args:
            prompts: rendered with marks; in one without a title, the start is the end of the prompt.
            tokens: their ids.
        """
        before = self._ids([text.partition(TITLE_MARK)[0] for text in self._wrapped(prompts)])
        return [_common_length(*pair) for pair in zip(before, tokens, strict=True)]

    def _render(self, template: Template, example: Example, items: int | None = None) -> str:
        return template.render(example, self.words, items, mark_title=self.find_title)

    def _wrapped(self, prompts: Sequence[str]) -> list[str]:
        return [self.wrap(prompt) for prompt in prompts] if self.wrap else list(prompts)

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of whole texts; a soft token is -1."""
        parts = [text.split(SOFT) for text in texts]
        flat = [part for pieces in parts for part in pieces]
        ids = iter(self.tokenizer(flat, add_special_tokens=False)["input_ids"] if flat else [])
        start = [] if self.wrap else beginning(self.tokenizer)  # a chat template writes its own
        prompts_ids = []
        for pieces in parts:
            prompt = [*start, *next(ids)]
            for _ in pieces[1:]:
                prompt += [-1, *next(ids)]
            prompts_ids.append(prompt)
        return prompts_ids

    def _shorten(self, template: Template, example: Example, limit: int, counts: Counter[str]) -> tuple[str, list[int]]:
        """Shorten a prompt until it fits, and return its text and ids."""
        shown = min(template.history_items, len(example.history))
        for items in range(shown - 1, -1, -1):
            text = self._render(template, example, items)
            [ids] = self.tokenise([text])
            if len(ids) <= limit:
                counts[SHORTENED] += 1
                return text, ids
        if shown:
            counts[SHORTENED] += 1
        return self._cut(template, example, limit, counts)

    def _cut(self, template: Template, example: Example, limit: int, counts: Counter[str]) -> tuple[str, list[int]]:
        """Cut the longest of an example's texts and candidates' titles until its prompt fits, without history."""
        names = list(example.texts)
        long = [*example.texts.values(), *(entry[TITLE] for entry in example.candidates)]
        tokens: list[list[int]] = self.tokenizer(long, add_special_tokens=False)["input_ids"] if long else []
        lengths = [len(own) for own in tokens]
        text = self._render(template, example, 0)
        [ids] = self.tokenise([text])
        target = sum(lengths) - (len(ids) - limit)
        level = max(lengths, default=0)  # no text keeps more tokens than this
        while level > 1 and len(ids) > limit:
            level -= 1
            if sum(min(length, level) for length in lengths) > target:
                continue
            cut = [
                whole if length <= level else first_tokens(self.tokenizer, own, level)
                for whole, own, length in zip(long, tokens, lengths, strict=True)
            ]
            titles = zip(example.candidates, cut[len(names) :], strict=True)
            shorter = Example(
                texts=dict(zip(names, cut, strict=False)),
                candidates=[{**entry, TITLE: title} for entry, title in titles],
            )
            text = self._render(template, shorter, 0)
            [ids] = self.tokenise([text])
        if len(ids) > limit:
            raise UserError(
                f"the prompt's own wording does not fit into {limit} tokens: raise the prompt's max_tokens, "
                "shorten its text or choose a backbone with a longer context"
            )
        only_titles = all(length <= level for name, length in zip(names, lengths, strict=False) if name != TITLE)
        counts[CUT_TITLE if only_titles else CUT_TEXT] += 1
        return text, ids


def _common_length(left: list[int], right: list[int]) -> int:
    """Return the length of two lists' common prefix; fast if it is nearly as long as the shorter one."""
    length = min(len(left), len(right))
    while left[:length] != right[:length]:
        length -= 1
    return length


def beginning(tokenizer: Any) -> list[int]:
    """Return the token that this tokenizer puts before every text, if any (Llama's `<s>`)."""
    start: int | None = tokenizer.bos_token_id
    ids = tokenizer("a")["input_ids"]
    return [start] if start is not None and ids[:1] == [start] else []


def _chunks(examples: Iterable[Example], size: int) -> Iterator[list[Example]]:
    iterator = iter(examples)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk
