"""Training data: the questions of one or several tasks, each in one or two versions, in batches that mix tasks.

If a question has two versions (text only, and with soft tokens), both are in the same batch; the code of CKF's authors
draws them independently, so that a step's two losses are about different questions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys_lora.data.batch import Padding, PromptBatch, PromptSet
from recsys_lora.data.length_buckets import length_groups
from recsys_lora.data.user_groups import count_pairs, grouped_by_user, longest_of_group
from recsys_lora.utils.errors import UserError

POOL_BATCHES = 16
"""Number of batches whose rows are drawn at random, then sorted by length: little padding, still random batches."""


@dataclass(frozen=True)
class TrainBatch:
    """The same questions in each version, in one or more groups of similar length.

    Attributes:
        versions: the groups of each version, by its name.
        global_rows: questions of this batch over all processes; losses are averaged over them.
        global_pairs: pairs of a positive and a negative yes-or-no question of one user, each pair within one process,
            summed over all processes; 0 if they are not counted.
    """

    versions: Mapping[str, tuple[PromptBatch, ...]]
    global_rows: int
    global_pairs: int = 0

    def __len__(self) -> int:
        return sum(map(len, next(iter(self.versions.values()))))

    @property
    def tokens(self) -> Tensor:
        """Number of tokens of its prompts, without padding; a scalar on the batch's device."""
        return torch.stack([group.attention_mask.sum() for groups in self.versions.values() for group in groups]).sum()

    def to(self, device: torch.device | str) -> "TrainBatch":
        """Return the batch on a device."""
        moved = {name: tuple(group.to(device) for group in groups) for name, groups in self.versions.items()}
        return replace(self, versions=moved)


@dataclass(frozen=True)
class TrainSet:
    """Questions of all tasks in each version, in the same order.

    Attributes:
        versions: the prompts by version; the first is the one that is answered.
        forward_overhead_tokens: for splitting batches into groups of similar length: see `length_groups`.
        binary: for each task, by number, whether it is answered by Yes or No; rows of such tasks form pairs.
    """

    versions: Mapping[str, PromptSet]
    forward_overhead_tokens: float | None = None
    binary: Sequence[bool] = ()

    def __post_init__(self) -> None:
        same = ("user", "items", "label", "target", "task", "row")
        first, *others = self.versions.values()
        if not all(np.array_equal(getattr(first, name), getattr(other, name)) for other in others for name in same):
            raise ValueError("the versions are not about the same questions in the same order")

    def __len__(self) -> int:
        return len(next(iter(self.versions.values())))

    @property
    def task(self) -> NDArray[np.int64]:
        """Each question's task (n,)."""
        return next(iter(self.versions.values())).task

    @property
    def user(self) -> NDArray[np.int64]:
        """Each question's user (n,)."""
        return next(iter(self.versions.values())).user

    def pairs(self, index: NDArray[np.integer[Any]]) -> int:
        """Return the number of pairs of a positive and a negative yes-or-no question of one user among these."""
        own = index[np.asarray(self.binary, dtype=bool)[self.task[index]]]
        return count_pairs(self.user[own], next(iter(self.versions.values())).label[own] > 0)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each question's longest version (n,)."""
        lengths = np.stack([prompts.prompts.lengths for prompts in self.versions.values()])
        return np.asarray(lengths.max(axis=0), dtype=np.int64)

    def batch(
        self,
        index: NDArray[np.integer[Any]],
        pad_id: int,
        padding: Padding,
        global_rows: int | None = None,
        global_pairs: int = 0,
    ) -> TrainBatch:
        """Collect questions into a batch; see `PromptSet.batch` and `TrainBatch`."""
        rows = len(index) if global_rows is None else global_rows
        versions = {
            name: tuple(
                prompts.batch(index[group], pad_id, padding, rows)
                for group in length_groups(prompts.prompts.lengths[index], self.forward_overhead_tokens)
            )
            for name, prompts in self.versions.items()
        }
        return TrainBatch(versions, rows, global_pairs)


class TaskOrder:
    """The composition and order of an epoch's batches, each with its share of every task.

    A batch of B questions has B · share questions of a task, rounded down or up at random so that shares are exact on
    average. A task's questions come in random order, all of them before any is repeated. The questions of
    `POOL_BATCHES` batches are assigned by length, within each task, and the batches are shuffled. An epoch has as many
    questions as there are, rounded down to whole batches; those left out differ between epochs.

    With `rows_per_user` above 1, up to that many questions of a task and user are adjacent: a user's questions are
    split into such groups at random, and groups take the place of questions in all of the above. A group's length is
    that of its longest prompt. The first and the last group of a task in a batch may be incomplete.

    Args:
        task: (n,) each question's task.
        lengths: (n,) tokens of each question's prompt.
        shares: weight of each task, by number; tasks without questions are ignored.
        batch_size: questions per batch; if there are fewer, all of them form one batch.
        seed: decides the order, together with the epoch.
        repeat: give every epoch the order of the first (to overfit on a few batches).
        users: (n,) each question's user; needed for groups.
        rows_per_user: questions per group.

    Raises:
        UserError: no task has both questions and a share.
    """

    def __init__(
        self,
        task: NDArray[np.int64],
        lengths: NDArray[np.int64],
        shares: Sequence[float],
        batch_size: int,
        seed: int,
        repeat: bool = False,
        *,
        users: NDArray[np.int64] | None = None,
        rows_per_user: int = 1,
    ) -> None:
        if rows_per_user > 1 and users is None:
            raise ValueError("rows_per_user needs users")
        self.users = users
        self.rows_per_user = rows_per_user
        self.lengths = lengths
        self.seed = seed
        self.epoch = 0
        self.repeat = repeat
        self.members = [np.flatnonzero(task == number) for number in range(len(shares))]
        weight = np.array([share if len(own) else 0.0 for share, own in zip(shares, self.members, strict=True)])
        if not weight.sum() > 0:
            raise UserError("train: no task has both questions and a share: raise a task's train_share")
        self.limits = np.cumsum(weight / weight.sum())  # (tasks,)
        self.batch_size = min(batch_size, len(task))

    def __len__(self) -> int:
        return len(self.lengths) // self.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; Lightning calls this before each epoch, on a loader's `sampler`."""
        self.epoch = epoch

    def batches(self) -> NDArray[np.int64]:
        """Return the epoch's batches as indices (batches, batch_size)."""
        generator = np.random.default_rng([self.seed, 0 if self.repeat else self.epoch])
        tasks = self._tasks(generator)  # (batches, B)
        rows = np.empty_like(tasks)
        for number, members in enumerate(self.members):
            mine = tasks == number
            stream, groups = self._stream(members, int(mine.sum()), generator)
            lengths = longest_of_group(self.lengths[stream], groups)
            counts = np.cumsum([0, *mine.sum(axis=1)])
            for begin in range(0, len(self), POOL_BATCHES):
                part = slice(counts[begin], counts[min(begin + POOL_BATCHES, len(self))])
                stream[part] = stream[part][np.argsort(lengths[part], kind="stable")]
            rows[mine] = stream
        batches: NDArray[np.int64] = generator.permutation(rows)
        return batches

    def _stream(
        self, members: NDArray[np.int64], count: int, generator: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return `count` of the members, each as often as any other, give or take one, and their group numbers."""
        if not count:
            return members[:0].copy(), members[:0].copy()
        rounds = -(-count // len(members))
        streams = [generator.permutation(members) for _ in range(rounds)]
        if self.users is None or self.rows_per_user == 1:
            return np.concatenate(streams)[:count], np.arange(count)
        parts = [grouped_by_user(own, self.users[own], self.rows_per_user, generator) for own in streams]
        groups = [own + number * len(members) for number, (_, own) in enumerate(parts)]
        # Numbers without gaps: each group has at least one row, so they stay below the number of rows.
        _, number = np.unique(np.concatenate(groups)[:count], return_inverse=True)
        return np.concatenate([own for own, _ in parts])[:count], number

    def _tasks(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """Return the task of each position in each batch (batches, B); with one task, nothing is drawn."""
        if len(self.limits) == 1:
            return np.zeros((len(self), self.batch_size), dtype=np.int64)
        # Evenly spaced points on the line of shares, shifted per batch: each share is rounded down or up.
        points = (np.arange(self.batch_size) + generator.random((len(self), 1))) / self.batch_size
        return np.minimum(np.searchsorted(self.limits, points, side="right"), len(self.limits) - 1)


def temperature_shares(sizes: Sequence[int], temperature: float) -> list[float]:
    """Return each task's share of the batches, n_t^(1/T) normalised.

    T = 1 draws tasks in proportion to their questions; the larger T, the more equal the shares. Source: Raffel et al.,
    2020 (T5, arXiv 1910.10683), section 3.5.2, "temperature-scaled mixing".
    """
    weights = np.asarray(sizes, dtype=np.float64) ** (1 / temperature)
    return [float(share) for share in weights / weights.sum()]
