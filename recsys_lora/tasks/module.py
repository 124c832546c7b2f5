"""Lightning's view of several tasks: which questions a run trains and validates on, and the loaders over them."""

import logging
from collections.abc import Mapping

import lightning

from recsys_lora.data.batch import Padding, PromptSet, join
from recsys_lora.data.loader import ScoreLoader, Share, TrainLoader
from recsys_lora.data.module import DEFAULT_TOKEN_BUDGET, valid_share
from recsys_lora.data.pairs import PairBatch, PairSet, TaskOrder, temperature_shares
from recsys_lora.data.prepared import PreparedData
from recsys_lora.data.schema import SplitName
from recsys_lora.errors import UserError
from recsys_lora.tasks.prompts import TaskPrompts
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.scale import RatingScale
from recsys_lora.tasks.task import Task

log = logging.getLogger(__name__)


class TaskData(lightning.LightningDataModule):
    """The questions of one run.

    Args:
        data: the prepared data set.
        scale: its ratings.
        tasks: the tasks in the order of their numbers.
        prompts: what makes each one's prompts.
        batch_rows: questions of a training batch over all processes together.
        seed: decides the order of training batches.
        pad_id: token that fills up shorter prompts.
        padding: on which side.
        token_budget: padded tokens of a scoring batch at most.
        train_rows: training questions of the task with the largest share, of others in proportion to theirs: a task
            alone has as many as it has among others. None for all.
        valid_rows: questions of each task to validate on; None for all.
        sample_seed: decides the questions.
        forward_cost: in tokens: see `recsys_lora.data.groups.alike`; None leaves training batches whole.
        temperature: mix tasks by n^(1/temperature) of their numbers of questions, times each task's own `train_share`;
            None mixes by `train_share` alone.
    """

    def __init__(
        self,
        data: PreparedData,
        scale: RatingScale,
        tasks: Mapping[str, Task],
        prompts: Mapping[str, TaskPrompts],
        *,
        batch_rows: int,
        seed: int,
        pad_id: int,
        padding: Padding = "right",
        token_budget: int = DEFAULT_TOKEN_BUDGET,
        train_rows: int | None = None,
        valid_rows: int | str | None = None,
        sample_seed: int = 0,
        forward_cost: float | None = None,
        temperature: float | None = None,
    ) -> None:
        super().__init__()
        if isinstance(valid_rows, str):
            raise UserError(f"data.valid_rows={valid_rows}: is for models of a single question: give a number or null")
        self.allow_zero_length_dataloader_with_multiple_devices = True  # fewer rows to validate on than processes
        self.data, self.scale, self.tasks, self.prompts = data, scale, tasks, prompts
        self.batch_rows, self.seed, self.token_budget = batch_rows, seed, token_budget
        self.pad_id, self.padding, self.temperature = pad_id, padding, temperature
        self.forward_cost = forward_cost
        self.train_rows, self.valid_rows, self.sample_seed = train_rows, valid_rows, sample_seed
        self.train: PairSet | None = None
        self.valid: PromptSet | None = None
        self.shares: list[float] = []

    def setup(self, stage: str) -> None:
        """Tokenise the questions that `stage` needs, once.

        Raises:
            UserError: no task has a training question, or none to validate on.
        """
        if stage == "fit" and self.train is None:
            self.train = self._train_set()
        if stage in ("fit", "validate") and self.valid is None:
            made = {name: self.questions(name, "valid", self.valid_rows) for name in self.tasks}
            self.valid = join([self._set(name, questions, "collaborative") for name, questions in _some(made, "valid")])

    def questions(self, name: str, split: SplitName, limit: int | str | None) -> Questions:
        """Return the questions of one task, the same ones in every run with the same sample seed."""
        assert not isinstance(limit, str)
        return self.tasks[name].questions(self.data, self.scale, split, limit, self.sample_seed)

    def _train_set(self) -> PairSet:
        """Return the training questions in both versions, and decide the shares of tasks."""
        made = {name: self.questions(name, "train", None) for name in self.tasks}
        sizes = [len(questions) for questions in made.values()]
        self.shares = self._shares(sizes)
        if self.train_rows is not None:
            limits = [max(1, round(self.train_rows * share / max(self.shares))) for share in self.shares]
            made = {name: self.questions(name, "train", limit) for name, limit in zip(made, limits, strict=True)}
        some = _some(made, "train")
        for name, questions in some:
            share = self.shares[list(self.tasks).index(name)]
            log.info("%s: %d training questions, %.0f %% of every batch", name, len(questions), 100 * share)
        text = join([self._set(name, questions, "text") for name, questions in some])
        collaborative = join([self._set(name, questions, "collaborative") for name, questions in some])
        return PairSet(text, collaborative, self.forward_cost)

    def _shares(self, sizes: list[int]) -> list[float]:
        own = [float(task.train_share) for task in self.tasks.values()]
        if self.temperature is not None and max(sizes, default=0) > 0:
            own = [a * b for a, b in zip(own, temperature_shares(sizes, self.temperature), strict=True)]
        weights = [share if size else 0.0 for share, size in zip(own, sizes, strict=True)]
        if not sum(weights) > 0:
            raise UserError("train: no task has both questions and a share: raise a task's train_share")
        return [weight / sum(weights) for weight in weights]

    def _set(self, name: str, questions: Questions, version: str) -> PromptSet:
        prompts = self.prompts[name]
        show = self.share.rank == 0
        return prompts.set(questions, "text" if version == "text" else "collaborative", with_answers=True, show=show)

    @property
    def share(self) -> Share:
        """This process's part of the work."""
        return Share(self.trainer.global_rank, self.trainer.world_size) if self.trainer else Share()

    def train_dataloader(self) -> TrainLoader[PairBatch]:
        """Return the training batches, an endless run's order included."""
        assert self.train is not None
        repeat = bool(getattr(self.trainer, "overfit_batches", 0))
        order = TaskOrder(self.train.text.task, self.train.lengths, self.shares, self.batch_rows, self.seed, repeat)
        return TrainLoader(self.train, order, self.pad_id, self.padding, self.share)

    def val_dataloader(self) -> ScoreLoader:
        """Return the questions to validate on, of all tasks, with soft tokens."""
        assert self.valid is not None
        return self.score_loader(self.valid, valid_share(self.trainer, self.share))

    def score_loader(self, prompts: PromptSet, share: Share | None = None) -> ScoreLoader:
        """Return batches that score every question once, on all processes of `share` together."""
        return ScoreLoader(prompts, self.token_budget, self.pad_id, self.padding, share)


def _some(made: Mapping[str, Questions], split: str) -> list[tuple[str, Questions]]:
    """Return the tasks that have questions, and say which have none."""
    for name, questions in made.items():
        if not len(questions):
            log.info("%s: no question in %s", name, split)
    if not (some := [(name, questions) for name, questions in made.items() if len(questions)]):
        raise UserError(f"{split}: no task has a question there: choose another data.split or more rows")
    return some
