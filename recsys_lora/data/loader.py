"""Loaders over a prompt set, without worker processes: a batch is cut from flat arrays in microseconds.

Training: batches of a fixed number of rows over all processes, in an order that depends only on (seed, epoch), so that
batches are the same for any number of processes and in a resumed run. Scoring: batches within a fixed budget of padded
tokens, longest prompts first, so that a budget that is too large fails at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys_lora.data.batch import Padding, PromptBatch, PromptSet
from recsys_lora.data.training import TaskOrder, TrainBatch, TrainSet
from recsys_lora.utils.errors import UserError

DEFAULT_TOKEN_BUDGET = 4096


@dataclass(frozen=True)
class Batching:
    """How questions are batched.

    Attributes:
        batch_size: questions per training batch, over all processes.
        pad_id: token that pads shorter prompts.
        padding: on which side.
        token_budget: the most padded tokens in a scoring batch.
        rows_per_user: questions of one user that are adjacent in a training batch; see `TaskOrder`.
    """

    batch_size: int
    pad_id: int
    padding: Padding = "right"
    token_budget: int = DEFAULT_TOKEN_BUDGET
    rows_per_user: int = 1


@dataclass(frozen=True)
class Shard:
    """This process's share of the work."""

    rank: int = 0
    world: int = 1

    def of(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return this process's part of a list: every `world`-th entry."""
        return index[self.rank :: self.world]

    def consecutive(self, index: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Return every process's part of a list, by rank, as consecutive entries, so that neighbours stay together."""
        return np.array_split(index, self.world)


class TrainLoader:
    """Training batches; `load_state_dict` resumes in the middle of an epoch.

    Args:
        rows: the questions to batch.
        sampler: the order of batches.
        pad_id: token that pads shorter prompts.
        padding: on which side.
        shard: this process's part of every batch.

    Raises:
        UserError: a batch has fewer rows than there are processes.
    """

    def __init__(
        self, rows: TrainSet, sampler: TaskOrder, pad_id: int, padding: Padding, shard: Shard | None = None
    ) -> None:
        self.shard = shard or Shard()
        if sampler.batch_size < self.shard.world:
            raise UserError(
                f"a training batch of {sampler.batch_size} rows cannot be shared by {self.shard.world} processes: "
                "use fewer devices, a larger model.batch_size or more training rows"
            )
        self.rows = rows
        self.sampler = sampler
        self.pad_id = pad_id
        self.padding = padding
        self._handed_out = {"epoch": 0, "batches": 0}
        self._resume: dict[str, int] | None = None

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[TrainBatch]:
        # A generator: nothing here runs before the first batch is asked for, when the epoch is known.
        epoch = self.sampler.epoch
        resume = self._resume
        self._resume = None
        first = resume["batches"] if resume and resume["epoch"] == epoch else 0
        for number, rows in enumerate(self.sampler.batches()[first:], start=first + 1):
            self._handed_out = {"epoch": epoch, "batches": number}
            yield self._batch(rows)

    def _batch(self, rows: NDArray[np.int64]) -> TrainBatch:
        """Return this process's part of a batch; rows of one user that are adjacent stay together."""
        if self.sampler.rows_per_user == 1:
            return self.rows.batch(self.shard.of(rows), self.pad_id, self.padding, global_rows=len(rows))
        parts = self.shard.consecutive(rows)
        pairs = sum(map(self.rows.pairs, parts))
        return self.rows.batch(parts[self.shard.rank], self.pad_id, self.padding, len(rows), pairs)

    def state_dict(self) -> dict[str, int]:
        """Return the epoch, and how many of its batches were handed out."""
        return dict(self._handed_out)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Skip those batches the next time that epoch is iterated over."""
        self._handed_out = dict(state)
        self._resume = dict(state)
        self.sampler.set_epoch(state["epoch"])


class ScoreLoader:
    """Batches for scoring: each row once over all processes, longest prompts first.

    Args:
        prompts: the rows.
        token_budget: the most padded tokens in a batch (a single longer prompt is a batch of its own).
        pad_id: token that pads shorter prompts.
        padding: on which side.
        shard: this process's part of the rows.
    """

    def __init__(
        self, prompts: PromptSet, token_budget: int, pad_id: int, padding: Padding, shard: Shard | None = None
    ) -> None:
        self.prompts = prompts
        self.pad_id = pad_id
        self.padding = padding
        lengths = prompts.prompts.lengths
        longest_first = np.argsort(-lengths, kind="stable")
        self.batches = token_budget_batches((shard or Shard()).of(longest_first), lengths, token_budget)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[PromptBatch]:
        for rows in self.batches:
            yield self.prompts.batch(rows, self.pad_id, self.padding)


def token_budget_batches(
    index: NDArray[np.int64], lengths: NDArray[np.int64], token_budget: int
) -> list[NDArray[np.int64]]:
    """Split rows, longest first, into batches of at most `token_budget` padded tokens."""
    batches, begin = [], 0
    while begin < len(index):
        rows = max(1, token_budget // int(lengths[index[begin]]))
        batches.append(index[begin : begin + rows])
        begin += rows
    return batches
