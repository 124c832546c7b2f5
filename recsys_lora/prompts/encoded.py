"""Prompts as token ids in flat arrays: made by an `Encoder`, and cut into batches."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class EncodedPrompts:
    """The token ids of n prompts.

    Attributes:
        ids: all prompts' tokens, one after the other (total,).
        offsets: where each begins, and the end (n + 1,).
        soft_positions: positions of the soft tokens in each prompt, -1 where it has fewer (n, S).
        counts: how many prompts were shortened, and how.
        title_starts: the token of each prompt at which its title begins (n,); None if it was not asked for. Prompts
            with the same text before it have the same tokens there, whatever their titles.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    soft_positions: NDArray[np.int32]
    counts: Mapping[str, int] = field(default_factory=dict)
    title_starts: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each prompt (n,)."""
        return np.diff(self.offsets)

    def __getitem__(self, index: int) -> NDArray[np.int32]:
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    def take(self, index: NDArray[np.int64]) -> "EncodedPrompts":
        """Return the prompts at `index` (m,), in that order; `counts` are still those of all."""
        chosen = [self[place] for place in index]
        titles = None if self.title_starts is None else self.title_starts[index]
        soft = self.soft_positions[index]
        return replace(self, ids=_joined(chosen), offsets=_offsets(chosen), soft_positions=soft, title_starts=titles)

    def distinct(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the first index of each distinct prompt (m,), ascending, and which of these each prompt is (n,)."""
        numbers: dict[bytes, int] = {}
        which = [numbers.setdefault(self[place].tobytes(), len(numbers)) for place in range(len(self))]
        same = np.array(which, dtype=np.int64)
        return np.unique(same, return_index=True)[1].astype(np.int64), same


def flat(
    prompts: Sequence[NDArray[np.int32]],
    soft_id: int,
    counts: Mapping[str, int],
    title_starts: Sequence[int] | None = None,
) -> EncodedPrompts:
    """Put single prompts into flat arrays.

    Args:
        prompts: each one's tokens; a soft token is -1.
        soft_id: a token id used as the placeholder of soft tokens.
        counts: how many were shortened, and how.
        title_starts: the token at which each one's title begins; None if unknown.
    """
    soft = [np.flatnonzero(prompt < 0) for prompt in prompts]
    positions = np.full((len(prompts), max(map(len, soft), default=0)), -1, dtype=np.int32)
    for row, places in zip(positions, soft, strict=True):
        row[: len(places)] = places
    ids = _joined(prompts)
    ids[ids < 0] = soft_id
    starts = None if title_starts is None else np.array(title_starts, dtype=np.int32)
    return EncodedPrompts(ids, _offsets(prompts), positions, dict(counts), starts)


def concatenate(parts: Sequence[EncodedPrompts]) -> EncodedPrompts:
    """Concatenate prompts; where some have fewer soft tokens, their remaining positions are -1.

    The starts of their titles are kept if all parts have them.
    """
    width = max(part.soft_positions.shape[1] for part in parts)
    soft = [
        np.pad(p.soft_positions, ((0, 0), (0, width - p.soft_positions.shape[1])), constant_values=-1) for p in parts
    ]
    lengths = np.concatenate([part.lengths for part in parts])
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part.counts)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = np.concatenate([part.ids for part in parts])
    known = [part.title_starts for part in parts if part.title_starts is not None]
    starts = np.concatenate(known) if len(known) == len(parts) else None
    return EncodedPrompts(ids, offsets, np.concatenate(soft), dict(counts), starts)


def with_answers(prompts: EncodedPrompts, answers: Sequence[Sequence[int]]) -> EncodedPrompts:
    """Return prompts with an answer appended to each: n answers, of any lengths."""
    pairs = zip(range(len(prompts)), answers, strict=True)
    encoded = [np.concatenate([prompts[index], np.asarray(answer, dtype=np.int32)]) for index, answer in pairs]
    return replace(prompts, ids=_joined(encoded), offsets=_offsets(encoded))


def _offsets(encoded: Sequence[NDArray[np.int32]]) -> NDArray[np.int64]:
    return np.cumsum([0, *map(len, encoded)], dtype=np.int64)


def _joined(encoded: Sequence[NDArray[np.int32]]) -> NDArray[np.int32]:
    return np.concatenate(encoded) if encoded else np.zeros(0, dtype=np.int32)
