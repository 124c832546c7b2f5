"""Loaders over a prompt set, without worker processes: a batch is cut from flat arrays in microseconds.

Training: batches of a fixed number of rows over all processes together, in an order that is a function of
(seed, epoch) alone, so that any number of processes, and a run that was stopped and goes on, see the same batches.
Scoring: batches of a fixed number of padded tokens, longest prompts first, so that too large a budget fails at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from recsys_lora.data.batch import Padding, PromptBatch, PromptSet
from recsys_lora.errors import UserError

Batch = TypeVar("Batch", covariant=True)

POOL_BATCHES = 16
"""Batches whose rows are drawn at random and then sorted by length: little padding, and still random company."""


@dataclass(frozen=True)
class Share:
    """Which part of the work this process does."""

    rank: int = 0
    world: int = 1

    def of(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return this process's part of a list: every `world`-th entry."""
        return index[self.rank :: self.world]


class BatchOrder:
    """The composition and order of an epoch's batches.

    Rows are shuffled; as many as do not fill a batch are left out of this epoch (others in each); pools of
    `POOL_BATCHES` batches are sorted by length and cut; the batches of the epoch are shuffled.

    Args:
        lengths: (n,) tokens of each prompt.
        batch_rows: rows of a batch; all rows make one batch where there are fewer.
        seed: decides the order, together with the epoch.
        repeat: give every epoch the order of the first (to overfit on a few batches).
    """

    def __init__(self, lengths: NDArray[np.int64], batch_rows: int, seed: int, repeat: bool = False) -> None:
        self.lengths, self.seed, self.epoch, self.repeat = lengths, seed, 0, repeat
        self.batch_rows = min(batch_rows, len(lengths))

    def __len__(self) -> int:
        return len(self.lengths) // self.batch_rows

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls this before each, on what a loader has as `sampler`."""
        self.epoch = epoch

    def batches(self) -> NDArray[np.int64]:
        """Return the epoch's batches (batches, batch_rows), of indices."""
        generator = np.random.default_rng([self.seed, 0 if self.repeat else self.epoch])
        rows = generator.permutation(len(self.lengths))[: len(self) * self.batch_rows]
        pool = POOL_BATCHES * self.batch_rows
        for begin in range(0, len(rows), pool):
            part = rows[begin : begin + pool]
            rows[begin : begin + pool] = part[np.argsort(self.lengths[part], kind="stable")]
        batches: NDArray[np.int64] = generator.permutation(rows.reshape(len(self), self.batch_rows))
        return batches


class Order(Protocol):
    """The composition and order of an epoch's batches: `BatchOrder`, or `TaskOrder` of several tasks."""

    batch_rows: int
    epoch: int

    def __len__(self) -> int: ...

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch."""

    def batches(self) -> NDArray[np.int64]:
        """Return the epoch's batches (batches, batch_rows), of indices."""
        ...


class Batches(Protocol[Batch]):
    """What batches are cut from: `PromptSet`, or `PairSet`."""

    def batch(
        self, index: NDArray[np.integer[Any]], pad_id: int, padding: Padding, global_rows: int | None = None
    ) -> Batch:
        """Collect rows into a batch."""
        ...


class TrainLoader(Generic[Batch]):
    """Batches to train on; goes on in the middle of an epoch from `load_state_dict`.

    Args:
        rows: what batches are cut from.
        sampler: the order of batches.
        pad_id: token that fills up shorter prompts.
        padding: on which side.
        share: this process's part of every batch.

    Raises:
        UserError: a batch has fewer rows than there are processes.
    """

    def __init__(
        self, rows: Batches[Batch], sampler: Order, pad_id: int, padding: Padding, share: Share | None = None
    ) -> None:
        self.share = share or Share()
        if sampler.batch_rows < self.share.world:
            raise UserError(
                f"a training batch of {sampler.batch_rows} rows cannot be shared by {self.share.world} processes: "
                "use fewer devices, a larger model.batch_rows or more training rows"
            )
        self.rows, self.sampler, self.pad_id, self.padding = rows, sampler, pad_id, padding
        self._handed_out = {"epoch": 0, "batches": 0}
        self._resume: dict[str, int] | None = None

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        # A generator: nothing here runs before the first batch is asked for, when the epoch is known.
        epoch, resume, self._resume = self.sampler.epoch, self._resume, None
        first = resume["batches"] if resume and resume["epoch"] == epoch else 0
        for number, rows in enumerate(self.sampler.batches()[first:], start=first + 1):
            self._handed_out = {"epoch": epoch, "batches": number}
            yield self.rows.batch(self.share.of(rows), self.pad_id, self.padding, global_rows=len(rows))

    def state_dict(self) -> dict[str, int]:
        """Return how many batches of which epoch were handed out."""
        return dict(self._handed_out)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Leave out those batches when that epoch is gone through next."""
        self._handed_out, self._resume = dict(state), dict(state)
        self.sampler.set_epoch(state["epoch"])


class ScoreLoader:
    """Batches to score, each row once on all processes together, longest prompts first.

    Args:
        prompts: the rows.
        token_budget: padded tokens of a batch at most (a single longer prompt is a batch).
        pad_id: token that fills up shorter prompts.
        padding: on which side.
        share: this process's part of the rows.
    """

    def __init__(
        self, prompts: PromptSet, token_budget: int, pad_id: int, padding: Padding, share: Share | None = None
    ) -> None:
        self.prompts, self.pad_id, self.padding = prompts, pad_id, padding
        lengths = prompts.prompts.lengths
        longest_first = np.argsort(-lengths, kind="stable")
        self.batches = budgeted((share or Share()).of(longest_first), lengths, token_budget)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[PromptBatch]:
        for rows in self.batches:
            yield self.prompts.batch(rows, self.pad_id, self.padding)


def budgeted(index: NDArray[np.int64], lengths: NDArray[np.int64], token_budget: int) -> list[NDArray[np.int64]]:
    """Cut rows, longest first, into batches of at most `token_budget` padded tokens."""
    batches, begin = [], 0
    while begin < len(index):
        rows = max(1, token_budget // int(lengths[index[begin]]))
        batches.append(index[begin : begin + rows])
        begin += rows
    return batches
