"""Training data of several tasks: every question twice, as text alone and with soft tokens, in batches that mix tasks.

The two versions of a question stand in the same batch: the authors' code draws them independently, so that one step's
two losses are about different questions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recsys_lora.data.batch import Padding, PromptBatch, PromptSet
from recsys_lora.data.groups import alike
from recsys_lora.data.loader import POOL_BATCHES
from recsys_lora.errors import UserError


@dataclass(frozen=True)
class PairBatch:
    """The same questions in two versions, each in one or more groups of like lengths.

    Attributes:
        text: as text alone.
        collaborative: with soft tokens.
        global_rows: questions of this batch on all processes together.
    """

    text: tuple[PromptBatch, ...]
    collaborative: tuple[PromptBatch, ...]
    global_rows: int

    def __len__(self) -> int:
        return sum(map(len, self.text))

    def to(self, device: torch.device | str) -> "PairBatch":
        """Return the batch on a device."""
        text, collaborative = (tuple(part.to(device) for part in parts) for parts in (self.text, self.collaborative))
        return PairBatch(text, collaborative, self.global_rows)


@dataclass(frozen=True)
class PairSet:
    """Questions of all tasks in two versions, in the same order.

    Attributes:
        text: as text alone.
        collaborative: with soft tokens.
        forward_cost: batches are cut into groups of like lengths: see `alike`.
    """

    text: PromptSet
    collaborative: PromptSet
    forward_cost: float | None = None

    def __post_init__(self) -> None:
        same = ("user", "items", "label", "target", "task", "row")
        if not all(np.array_equal(getattr(self.text, name), getattr(self.collaborative, name)) for name in same):
            raise ValueError("the two versions are not about the same questions in the same order")

    def __len__(self) -> int:
        return len(self.text)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each question's longer version (n,)."""
        return np.maximum(self.text.prompts.lengths, self.collaborative.prompts.lengths)

    def batch(
        self, index: NDArray[np.integer[Any]], pad_id: int, padding: Padding, global_rows: int | None = None
    ) -> PairBatch:
        """Collect questions into a batch; see `PromptSet.batch`."""
        rows = len(index) if global_rows is None else global_rows
        text, collaborative = (
            tuple(
                prompts.batch(index[group], pad_id, padding, rows)
                for group in alike(prompts.prompts.lengths[index], self.forward_cost)
            )
            for prompts in (self.text, self.collaborative)
        )
        return PairBatch(text, collaborative, rows)


class TaskOrder:
    """The composition and order of an epoch's batches, each with its share of every task.

    A batch of B questions holds B · share of a task's, rounded down or up at random so that shares hold exactly on
    average. A task's questions come in random order, all of them before any comes again. As in `BatchOrder`, the
    questions of `POOL_BATCHES` batches are handed out by length, within each task, and the batches are shuffled. An
    epoch has as many questions as there are, rounded down to whole batches.

    Args:
        task: (n,) each question's task.
        lengths: (n,) tokens of each question's prompt.
        shares: weight of each task, by number; those of tasks without questions are left out.
        batch_rows: questions of a batch; all of them make one batch where there are fewer.
        seed: decides the order, together with the epoch.
        repeat: give every epoch the order of the first (to overfit on a few batches).

    Raises:
        UserError: no task that has questions has a share.
    """

    def __init__(
        self,
        task: NDArray[np.int64],
        lengths: NDArray[np.int64],
        shares: Sequence[float],
        batch_rows: int,
        seed: int,
        repeat: bool = False,
    ) -> None:
        self.lengths, self.seed, self.epoch, self.repeat = lengths, seed, 0, repeat
        self.members = [np.flatnonzero(task == number) for number in range(len(shares))]
        weight = np.array([share if len(own) else 0.0 for share, own in zip(shares, self.members, strict=True)])
        if not weight.sum() > 0:
            raise UserError("train: no task has both questions and a share: raise a task's train_share")
        self.limits = np.cumsum(weight / weight.sum())  # (tasks,)
        self.batch_rows = min(batch_rows, len(task))

    def __len__(self) -> int:
        return len(self.lengths) // self.batch_rows

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls this before each, on what a loader has as `sampler`."""
        self.epoch = epoch

    def batches(self) -> NDArray[np.int64]:
        """Return the epoch's batches (batches, batch_rows), of indices."""
        generator = np.random.default_rng([self.seed, 0 if self.repeat else self.epoch])
        # Evenly spaced points on the line of shares, shifted a batch: each share gets its whole part, or one more.
        points = (np.arange(self.batch_rows) + generator.random((len(self), 1))) / self.batch_rows
        tasks = np.minimum(np.searchsorted(self.limits, points, side="right"), len(self.limits) - 1)  # (batches, B)
        rows = np.empty_like(tasks)
        for number, members in enumerate(self.members):
            mine = tasks == number
            stream = _cycled(members, int(mine.sum()), generator)
            counts = np.cumsum([0, *mine.sum(axis=1)])
            for begin in range(0, len(self), POOL_BATCHES):
                part = slice(counts[begin], counts[min(begin + POOL_BATCHES, len(self))])
                stream[part] = stream[part][np.argsort(self.lengths[stream[part]], kind="stable")]
            rows[mine] = stream
        batches: NDArray[np.int64] = generator.permutation(rows)
        return batches


def _cycled(members: NDArray[np.int64], count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return `count` of the members, each as often as any other, give or take one."""
    if not count:
        return members[:0].copy()
    rounds = -(-count // len(members))
    return np.concatenate([generator.permutation(members) for _ in range(rounds)])[:count]


def temperature_shares(sizes: Sequence[int], temperature: float) -> list[float]:
    """Return each task's share of the batches, n_t^(1/T) normalised.

    T = 1 draws tasks as often as they have questions; the larger T, the more alike. Source: Raffel et al., 2020 (T5,
    arXiv 1910.10683), section 3.5.2, "temperature-scaled mixing".
    """
    weights = np.asarray(sizes, dtype=np.float64) ** (1 / temperature)
    return [float(share) for share in weights / weights.sum()]
