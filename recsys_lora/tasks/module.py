"""The Lightning data module of a run: the questions it trains and validates on, and their loaders."""

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import lightning

from recsys_lora.data.batch import Padding, PromptSet, join
from recsys_lora.data.history import Pairs
from recsys_lora.data.loader import Batching, ScoreLoader, Shard, TrainLoader
from recsys_lora.data.prepared import PreparedData
from recsys_lora.data.schema import SplitName
from recsys_lora.data.training import TaskOrder, TrainSet, temperature_shares
from recsys_lora.tasks.prompts import TaskPrompts
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.selection import Limit, Limits, generator, sample
from recsys_lora.tasks.task import Task, Version
from recsys_lora.utils.console import Advance, progress
from recsys_lora.utils.errors import UserError

log = logging.getLogger(__name__)

TrainOn = Literal["rows", "items"]


@dataclass(frozen=True)
class Mixing:
    """How training batches mix tasks.

    Attributes:
        temperature: weight tasks by n^(1/temperature) for n questions, times each task's own `train_share`; None for
            `train_share` alone.
        forward_overhead_tokens: as in `recsys_lora.data.length_buckets.length_groups`; None leaves batches whole.
    """

    temperature: float | None = None
    forward_overhead_tokens: float | None = None


def _scored_shard(trainer: lightning.Trainer | None, shard: Shard) -> Shard:
    """Return what a process scores: its shard, or all rows if processes must run the same forwards."""
    backbone = getattr(trainer.lightning_module, "backbone", None) if trainer else None
    return Shard() if getattr(backbone, "sharded", False) else shard


class TaskData(lightning.LightningDataModule):
    """The questions of one run.

    Args:
        data: the prepared data set.
        tasks: the tasks in the order of their numbers.
        prompts: builds each task's prompts.
        versions: the prompt versions that the method trains on; it answers the first.
        batching: how questions become batches.
        seed: decides the order of training batches.
        limits: how many questions, and which.
        mixing: how batches mix tasks.
        train_on: `rows`, or `items`: one yes-or-no question per item, see `Task.item_questions`.
    """

    def __init__(
        self,
        data: PreparedData,
        tasks: Mapping[str, Task],
        prompts: Mapping[str, TaskPrompts],
        *,
        versions: Sequence[Version],
        batching: Batching,
        seed: int,
        limits: Limits | None = None,
        mixing: Mixing | None = None,
        train_on: TrainOn = "rows",
    ) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # fewer rows to validate on than processes
        self.data = data
        self.tasks = tasks
        self.prompts = prompts
        self.versions = tuple(versions)
        self.batching = batching
        self.seed = seed
        self.limits = limits or Limits()
        self.mixing = mixing or Mixing()
        self.train_on = train_on
        self.train: TrainSet | None = None
        self.valid: PromptSet | None = None
        self.test: PromptSet | None = None
        self.train_pairs: Pairs | None = None
        self.shares: list[float] = []

    def on(self, data: PreparedData) -> "TaskData":
        """Return a copy for other histories of the same users and items."""
        other = copy.copy(self)
        other.data = data
        other.prompts = {name: prompts.on(data) for name, prompts in self.prompts.items()}
        return other

    def setup(self, stage: str) -> None:
        """Tokenise the questions that `stage` needs, once.

        Raises:
            UserError: no task has a question of a split, or nothing can be learned from the questions.
        """
        limits = self.limits
        train = self._train_questions() if stage == "fit" and self.train is None else {}
        valid = self._held_out("valid", limits.valid) if stage in ("fit", "validate") and self.valid is None else {}
        test = self._held_out("test", limits.test) if stage == "test" and self.test is None else {}
        number = len(self.versions) * sum(map(len, train.values())) + sum(map(len, [*valid.values(), *test.values()]))
        with progress("tokenising", number, "prompts", show=number > 0 and self.shard.rank == 0) as advance:
            if train:
                versions = {str(version): self._joined(train, version, advance) for version in self.versions}
                binary = [task.is_binary for task in self.tasks.values()]
                self.train = TrainSet(versions, self.mixing.forward_overhead_tokens, binary)
            if valid:
                self.valid = self._joined(valid, self.versions[0], advance)
            if test:
                self.test = self._joined(test, self.versions[0], advance)

    def questions(self, name: str, split: SplitName, limit: Limit) -> Questions:
        """Return the questions of one task, the same ones in every run with the same sample seed."""
        some, seed = self.limits.test_users if split == "test" else None, self.limits.seed
        data = self.data if some is None else self.data.with_test_users(some, seed)
        return self.tasks[name].questions(data, split, limit, seed)

    def _held_out(self, split: SplitName, limit: Limit) -> dict[str, Questions]:
        return self._asked({name: self.questions(name, split, limit) for name in self.tasks}, split)

    def _train_questions(self) -> dict[str, Questions]:
        """Return the training questions by task, and set the tasks' shares."""
        made = {name: self._training(name, None) for name in self.tasks}
        self.shares = self._shares([len(questions) for questions in made.values()])
        if self.limits.train is not None:
            limits = [max(1, round(self.limits.train * share / max(self.shares))) for share in self.shares]
            made = {name: self._training(name, limit) for name, limit in zip(made, limits, strict=True)}
        asked = self._asked(made, "train")
        if len(self.tasks) > 1:
            for name, questions in asked.items():
                share = self.shares[list(self.tasks).index(name)]
                log.info("%s: %d training questions, %.0f %% of every batch", name, len(questions), 100 * share)
        self.train_pairs = Pairs.concatenated([questions.pairs() for questions in asked.values()])
        return asked

    def _training(self, name: str, limit: int | None) -> Questions:
        if self.train_on == "rows":
            return self.questions(name, "train", limit)
        items = self.tasks[name].item_questions(self.questions(name, "train", None))
        return items.take(sample(len(items), limit, generator(name, "train", self.limits.seed)))

    def _shares(self, sizes: list[int]) -> list[float]:
        own = [float(task.train_share) for task in self.tasks.values()]
        if self.mixing.temperature is not None and max(sizes, default=0) > 0:
            mixed = temperature_shares(sizes, self.mixing.temperature)
            own = [a * b for a, b in zip(own, mixed, strict=True)]
        weights = [share if size else 0.0 for share, size in zip(own, sizes, strict=True)]
        if not sum(weights) > 0:
            raise UserError("train: no task has both questions and a share: raise a task's train_share")
        return [weight / sum(weights) for weight in weights]

    def _asked(self, made: Mapping[str, Questions], split: SplitName) -> dict[str, Questions]:
        """Return the tasks that have questions, checked, and log which have none."""
        for name, questions in made.items():
            if not len(questions):
                log.info("%s: no question in %s", name, split)
        asked = {name: questions for name, questions in made.items() if len(questions)}
        if not asked:
            raise UserError(f"{split}: no task has a question there: choose another data.split or more rows")
        if len(self.tasks) == 1:  # several are selected by loss, which any questions have
            for name, questions in asked.items():
                self.tasks[name].check(questions, split)
        return asked

    def _joined(self, asked: Mapping[str, Questions], version: Version, advance: Advance) -> PromptSet:
        return join(
            [self.prompts[name].set(some, version, with_answers=True, advance=advance) for name, some in asked.items()]
        )

    @property
    def shard(self) -> Shard:
        """This process's shard of the work."""
        return Shard(self.trainer.global_rank, self.trainer.world_size) if self.trainer else Shard()

    def train_dataloader(self) -> TrainLoader:
        """Return the training batches; with `overfit_batches`, every epoch has the same order."""
        assert self.train is not None
        repeat = bool(getattr(self.trainer, "overfit_batches", 0))
        order = TaskOrder(
            self.train.task,
            self.train.lengths,
            self.shares,
            self.batching.batch_size,
            self.seed,
            repeat,
            users=self.train.user,
            rows_per_user=self.batching.rows_per_user,
        )
        return TrainLoader(self.train, order, self.batching.pad_id, self.batching.padding, self.shard)

    def val_dataloader(self) -> ScoreLoader:
        """Return the validation questions of all tasks, in the version that is answered."""
        assert self.valid is not None
        return self.score_loader(self.valid, _scored_shard(self.trainer, self.shard))

    def test_dataloader(self) -> ScoreLoader:
        """Return the test questions, in the same form."""
        assert self.test is not None
        return self.score_loader(self.test, _scored_shard(self.trainer, self.shard))

    def score_loader(
        self, prompts: PromptSet, shard: Shard | None = None, padding: Padding | None = None
    ) -> ScoreLoader:
        """Return batches that score every question once, across all processes of `shard`."""
        batching = self.batching
        return ScoreLoader(prompts, batching.token_budget, batching.pad_id, padding or batching.padding, shard)
