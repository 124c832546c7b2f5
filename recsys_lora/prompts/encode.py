"""Prompts as token ids: made once a run, in bulk, kept in flat arrays.

A prompt that is too long loses its oldest history items one by one, then the end of its title; the wording of the
question is never cut. Both are counted.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys_lora.console import progress
from recsys_lora.errors import UserError
from recsys_lora.prompts.template import SOFT, TITLE, Example, Template
from recsys_lora.prompts.titles import first_tokens

CHUNK = 2048
SHORTENED = "prompts with a shortened history"
CUT_TITLE = "prompts with a cut title"
CUT_TEXT = "prompts with a cut text"


@dataclass(frozen=True)
class EncodedPrompts:
    """The token ids of n prompts.

    Attributes:
        ids: all prompts' tokens, one after the other (total,).
        offsets: where each begins, and the end (n + 1,).
        soft_positions: places of the soft tokens in each prompt, -1 where it has fewer (n, S).
        counts: how many prompts were shortened, and how.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    soft_positions: NDArray[np.int32]
    counts: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each prompt (n,)."""
        return np.diff(self.offsets)

    def __getitem__(self, index: int) -> NDArray[np.int32]:
        return self.ids[self.offsets[index] : self.offsets[index + 1]]


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
        return self._flat(encoded, counts)

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

    def _flat(self, encoded: Sequence[NDArray[np.int32]], counts: Mapping[str, int]) -> EncodedPrompts:
        offsets = _offsets(encoded)
        soft = [np.flatnonzero(prompt < 0) for prompt in encoded]
        positions = np.full((len(encoded), max(map(len, soft), default=0)), -1, dtype=np.int32)
        for row, places in zip(positions, soft, strict=True):
            row[: len(places)] = places
        ids = _joined(encoded)
        ids[ids < 0] = self.soft_id
        return EncodedPrompts(ids, offsets, positions, dict(counts))


def concatenate(parts: Sequence[EncodedPrompts]) -> EncodedPrompts:
    """Put prompts one behind the other; where some have fewer soft tokens, the rest of their places is -1."""
    width = max(part.soft_positions.shape[1] for part in parts)
    soft = [
        np.pad(p.soft_positions, ((0, 0), (0, width - p.soft_positions.shape[1])), constant_values=-1) for p in parts
    ]
    lengths = np.concatenate([part.lengths for part in parts])
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part.counts)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return EncodedPrompts(np.concatenate([part.ids for part in parts]), offsets, np.concatenate(soft), dict(counts))


def with_answers(prompts: EncodedPrompts, answers: Sequence[Sequence[int]]) -> EncodedPrompts:
    """Return prompts with tokens after each of them: n answers, of any lengths."""
    pairs = zip(range(len(prompts)), answers, strict=True)
    encoded = [np.concatenate([prompts[index], np.asarray(answer, dtype=np.int32)]) for index, answer in pairs]
    return EncodedPrompts(_joined(encoded), _offsets(encoded), prompts.soft_positions, dict(prompts.counts))


def _offsets(encoded: Sequence[NDArray[np.int32]]) -> NDArray[np.int64]:
    return np.cumsum([0, *map(len, encoded)], dtype=np.int64)


def _joined(encoded: Sequence[NDArray[np.int32]]) -> NDArray[np.int32]:
    return np.concatenate(encoded) if encoded else np.zeros(0, dtype=np.int32)


def beginning(tokenizer: Any) -> list[int]:
    """Return the token that begins every text in this tokenizer's own way, if any (Llama's `<s>`)."""
    start: int | None = tokenizer.bos_token_id
    ids = tokenizer("a")["input_ids"]
    return [start] if start is not None and ids[:1] == [start] else []


def _chunks(examples: Iterable[Example], size: int) -> Iterator[list[Example]]:
    iterator = iter(examples)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk
