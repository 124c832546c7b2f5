"""From examples to prompts as token ids: once a run, in bulk.

A prompt that is too long loses its oldest history items one by one, then the end of its title; the wording of the
question is never cut. Both are counted.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys_lora.console import progress
from recsys_lora.errors import UserError
from recsys_lora.prompts.encoded import EncodedPrompts, flat
from recsys_lora.prompts.template import SOFT, TITLE, Example, Template
from recsys_lora.prompts.titles import first_tokens

CHUNK = 2048
SHORTENED = "prompts with a shortened history"
CUT_TITLE = "prompts with a cut title"
CUT_TEXT = "prompts with a cut text"


@dataclass(frozen=True)
class Encoder:
    """Turns examples into token ids for one backbone.

    Attributes:
        tokenizer: a transformers tokenizer.
        words: the data set's words for the template's slots.
        max_tokens: the longest prompt the backbone can read.
        suffix: tokens that follow every prompt (what all answers begin with).
        wrap: puts a prompt into the backbone's chat template; None leaves it as it is.
        soft_id: a token id that holds the places of soft tokens.
    """

    tokenizer: Any
    words: Mapping[str, str]
    max_tokens: int
    suffix: Sequence[int] = ()
    wrap: Callable[[str], str] | None = None
    soft_id: int = 0

    def encode(self, template: Template, examples: Iterable[Example], total: int, show: bool = True) -> EncodedPrompts:
        """Tokenise all examples.

        Args:
            template: their wording.
            examples: what fills its slots, read once.
            total: how many there are, for the progress display.
            show: show progress.

        Raises:
            UserError: the template alone is longer than a prompt may be.
        """
        limit = min(template.max_tokens or self.max_tokens, self.max_tokens) - len(self.suffix)
        counts: Counter[str] = Counter()
        encoded: list[NDArray[np.int32]] = []
        with progress("tokenising prompts", total, "prompts", show=show) as advance:
            for chunk in _chunks(examples, CHUNK):
                tokens = self.tokenise([template.render(example, self.words) for example in chunk])
                long = [index for index, ids in enumerate(tokens) if len(ids) > limit]
                for index in long:
                    tokens[index] = self._shorten(template, chunk[index], limit, counts)
                encoded.extend(np.array([*ids, *self.suffix], dtype=np.int32) for ids in tokens)
                advance(len(chunk), "")
        return flat(encoded, self.soft_id, counts)

    def tokenise(self, prompts: Sequence[str]) -> list[list[int]]:
        """Return the ids of rendered prompts; a soft token is -1."""
        texts = [self.wrap(prompt) for prompt in prompts] if self.wrap else list(prompts)
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

    def _shorten(self, template: Template, example: Example, limit: int, counts: Counter[str]) -> list[int]:
        shown = min(template.history_items, len(example.history))
        ids: list[int] = []
        for items in range(shown - 1, -1, -1):
            ids = self.tokenise([template.render(example, self.words, items)])[0]
            if len(ids) <= limit:
                counts[SHORTENED] += 1
                return ids
        if shown:
            counts[SHORTENED] += 1
        return self._cut(template, example, limit, counts)

    def _cut(self, template: Template, example: Example, limit: int, counts: Counter[str]) -> list[int]:
        """Cut the longest of an example's texts and candidates' titles until its prompt fits, without history."""
        names = list(example.texts)
        long = [*example.texts.values(), *(entry[TITLE] for entry in example.candidates)]
        tokens: list[list[int]] = self.tokenizer(long, add_special_tokens=False)["input_ids"] if long else []
        lengths = [len(text) for text in tokens]
        ids = self.tokenise([template.render(example, self.words, 0)])[0]
        target = sum(lengths) - (len(ids) - limit)
        level = max(lengths, default=0)  # no text keeps more tokens than this
        while level > 1 and len(ids) > limit:
            level -= 1
            if sum(min(length, level) for length in lengths) > target:
                continue
            cut = [
                text if length <= level else first_tokens(self.tokenizer, own, level)
                for text, own, length in zip(long, tokens, lengths, strict=True)
            ]
            titles = zip(example.candidates, cut[len(names) :], strict=True)
            shorter = Example(
                texts=dict(zip(names, cut, strict=False)),
                candidates=[{**entry, TITLE: title} for entry, title in titles],
            )
            ids = self.tokenise([template.render(shorter, self.words, 0)])[0]
        if len(ids) > limit:
            raise UserError(
                f"the prompt's own wording does not fit into {limit} tokens: raise the prompt's max_tokens, "
                "shorten its text or choose a backbone with a longer context"
            )
        only_titles = all(length <= level for name, length in zip(names, lengths, strict=False) if name != TITLE)
        counts[CUT_TITLE if only_titles else CUT_TEXT] += 1
        return ids


def beginning(tokenizer: Any) -> list[int]:
    """Return the token that begins every text in this tokenizer's own way, if any (Llama's `<s>`)."""
    start: int | None = tokenizer.bos_token_id
    ids = tokenizer("a")["input_ids"]
    return [start] if start is not None and ids[:1] == [start] else []


def _chunks(examples: Iterable[Example], size: int) -> Iterator[list[Example]]:
    iterator = iter(examples)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk
