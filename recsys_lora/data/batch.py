"""A method's input: tokenised prompts, with the ids that its collaborative encoder reads."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys_lora.prompts.encoded import EncodedPrompts, concatenate

Padding = Literal["left", "right"]


@dataclass(frozen=True)
class PromptBatch:
    """One batch on one process.

    Attributes:
        input_ids: (B, T) int64, padded.
        attention_mask: (B, T) bool, True for tokens of the prompt.
        soft_positions: (B, S) int64, positions of the soft tokens in the padded prompt, -1 where a prompt has fewer.
        user: (B,) user numbers, for the encoder.
        items: (B, C) the candidates in the order of their soft tokens, padded with 0.
        history: (B, L) histories for the encoder, oldest first, padded with 0 on the left.
        label: (B,) float32, the ground truth: 1 for a positive, 0 otherwise; or a rating.
        target: (B,) int64, index of the task's correct choice; -1 if the answer is free text.
        answer_tokens: (B,) int64, number of answer tokens at the end of the prompt; 0 if the answer is a choice.
        task: (B,) number of the row's task.
        row: (B,) index in interactions.parquet.
        index: (B,) index of each row in the prompt set.
        global_rows: rows of this batch over all processes; losses are averaged over them.
        title_start: (B,) int64, the token in the padded prompt at which the candidate's title begins; None if the
            method did not ask for it.
        answer_places: (2, n) int64, row and column of every answer token in the padded prompts; None if not yet
            computed.
        padding: the side on which shorter prompts are padded; None if unknown.
    """

    input_ids: Tensor
    attention_mask: Tensor
    soft_positions: Tensor
    user: Tensor
    items: Tensor
    history: Tensor
    label: Tensor
    target: Tensor
    answer_tokens: Tensor
    task: Tensor
    row: Tensor
    index: Tensor
    global_rows: int
    title_start: Tensor | None = None
    answer_places: Tensor | None = None
    padding: Padding | None = None

    def __len__(self) -> int:
        return len(self.user)

    @property
    def item(self) -> Tensor:
        """The first candidate (B,), which is the only one if the question is about one item."""
        return self.items[:, 0]

    def to(self, device: torch.device | str) -> "PromptBatch":
        """Return the batch on a device; copies to a CUDA device do not block the host."""
        tensors: dict[str, Any] = {
            field.name: _moved(value, torch.device(device))
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **tensors)


def _moved(value: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device, via pinned memory, so that the copy does not block the host."""
    pinned = value.pin_memory() if device.type == "cuda" and value.device.type == "cpu" else value
    return pinned.to(device, non_blocking=True)


@dataclass(frozen=True)
class PromptSet:
    """All rows of a split, ready to be cut into batches; each array has one entry per row.

    Attributes:
        prompts: n token sequences.
        user: (n,) int64.
        items: (n, C) int64.
        history: (n, L) int64.
        label: (n,) float32.
        target: (n,) int64.
        answer_tokens: (n,) int64.
        task: (n,) int64.
        row: (n,) int64, index in interactions.parquet.
    """

    prompts: EncodedPrompts
    user: NDArray[np.int64]
    items: NDArray[np.int64]
    history: NDArray[np.int64]
    label: NDArray[np.float32]
    target: NDArray[np.int64]
    answer_tokens: NDArray[np.int64]
    task: NDArray[np.int64]
    row: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.user)

    def take(self, index: NDArray[np.int64]) -> "PromptSet":
        """Return the rows at `index` (m,), in that order."""
        columns = {name: getattr(self, name)[index] for name in _COLUMNS}
        return PromptSet(prompts=self.prompts.take(index), **columns)

    def batch(
        self, index: NDArray[np.integer[Any]], pad_id: int, padding: Padding, global_rows: int | None = None
    ) -> PromptBatch:
        """Collect rows into a batch.

        Args:
            index: (B,) indices of the rows in this set.
            pad_id: token that pads shorter prompts.
            padding: on which side.
            global_rows: rows of the batch over all processes; B by default.

        Raises:
            ValueError: an answer has no token before it.
        """
        lengths = self.prompts.lengths[index]
        ids, mask, start = pad([self.prompts[i] for i in index], lengths, pad_id, padding)
        soft = self.prompts.soft_positions[index].astype(np.int64)  # (B, S)
        titles = self.prompts.title_starts
        columns = {name: torch.from_numpy(getattr(self, name)[index]) for name in _COLUMNS}
        places = answer_places(start + lengths, self.answer_tokens[index], lengths)
        return PromptBatch(
            input_ids=torch.from_numpy(ids),
            attention_mask=torch.from_numpy(mask),
            soft_positions=torch.from_numpy(np.where(soft < 0, -1, soft + start[:, None])),
            index=torch.from_numpy(np.asarray(index, dtype=np.int64)),
            global_rows=len(index) if global_rows is None else global_rows,
            title_start=None if titles is None else torch.from_numpy(titles[index].astype(np.int64) + start),
            answer_places=torch.from_numpy(places),
            padding=padding,
            **columns,
        )


def join(parts: Sequence[PromptSet]) -> PromptSet:
    """Concatenate prompt sets; candidates are padded to the largest number in any of them."""
    width = max(part.items.shape[1] for part in parts)
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS if name != "items"}
    items = [np.pad(part.items, ((0, 0), (0, width - part.items.shape[1]))) for part in parts]
    return PromptSet(prompts=concatenate([part.prompts for part in parts]), items=np.concatenate(items), **columns)


_COLUMNS = ("user", "items", "history", "label", "target", "answer_tokens", "task", "row")


def pad(
    prompts: Sequence[NDArray[np.int32]], lengths: NDArray[np.int64], pad_id: int, padding: Padding
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    """Pad prompts to the same length.

    Returns:
        Token ids (B, T), a mask that is True for tokens of the prompt (B, T), and the column where each prompt begins
        (B,).
    """
    width = int(lengths.max())
    start = width - lengths if padding == "left" else np.zeros_like(lengths)
    ids = np.full((len(prompts), width), pad_id, dtype=np.int64)
    column = np.arange(width)
    mask = (column >= start[:, None]) & (column < (start + lengths)[:, None])  # (B, T)
    ids[mask] = np.concatenate(prompts)
    return ids, mask, start


def answer_places(
    ends: NDArray[np.int64], answer_tokens: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return row and column (2, n) of every answer token; computed on the host, so no device has to be synchronised.

    Args:
        ends: the column after each prompt's last token in the padded batch (B,).
        answer_tokens: number of answer tokens at the end of each prompt (B,).
        lengths: number of tokens of each prompt (B,).

    Raises:
        ValueError: an answer has no token before it.
    """
    if (answer_tokens >= np.maximum(lengths, 1)).any():
        raise ValueError("an answer needs at least one token of a prompt before it")
    row = np.repeat(np.arange(len(ends)), answer_tokens)  # (n,)
    within = np.arange(len(row)) - np.repeat(answer_tokens.cumsum() - answer_tokens, answer_tokens)
    return np.stack([row, np.repeat(ends - answer_tokens, answer_tokens) + within])
