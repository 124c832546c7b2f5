"""Lightning's view of the data: which rows a run trains and validates on, and the loaders over them."""

from typing import Literal, Protocol

import lightning
import numpy as np

from recsys_lora.data.batch import Padding, PromptBatch, PromptSet
from recsys_lora.data.loader import BatchOrder, ScoreLoader, Share, TrainLoader
from recsys_lora.data.prepared import PreparedData, Rows
from recsys_lora.errors import UserError

DEFAULT_TOKEN_BUDGET = 4096


class Builds(Protocol):
    """Makes prompts of rows, as `PromptBuilder` does."""

    def __call__(self, rows: Rows, show: bool = True, taste: Rows | None = None) -> PromptSet:
        """Return the prompts of `rows`, in their order; `taste` holds the users whose taste is shown instead."""


def valid_share(trainer: lightning.Trainer | None, share: Share) -> Share:
    """Return what a process validates on: its share, or all rows where processes have to run the same forwards.

    Then every row counts once for each process, which leaves means and areas under curves what they are.
    """
    backbone = getattr(trainer.lightning_module, "backbone", None) if trainer else None
    return Share() if getattr(backbone, "sharded", False) else share


class PromptData(lightning.LightningDataModule):
    """The rows of one run as prompts.

    Args:
        data: the prepared data set.
        build: makes prompts of rows.
        batch_rows: rows of a training batch over all processes together.
        seed: decides the order of training batches.
        pad_id: token that fills up shorter prompts.
        padding: on which side.
        token_budget: padded tokens of a scoring batch at most.
        train_rows: training rows, a fixed sample; None for all.
        valid_rows: rows to validate on; "published" for the sample that published work uses.
        sample_seed: decides the samples.
    """

    def __init__(
        self,
        data: PreparedData,
        build: Builds,
        *,
        batch_rows: int,
        seed: int,
        pad_id: int,
        padding: Padding = "right",
        token_budget: int = DEFAULT_TOKEN_BUDGET,
        train_rows: int | None = None,
        valid_rows: int | Literal["published"] | None = None,
        sample_seed: int = 0,
    ) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # fewer rows to validate on than processes
        self.data, self.build = data, build
        self.batch_rows, self.seed, self.token_budget = batch_rows, seed, token_budget
        self.pad_id, self.padding = pad_id, padding
        self.train_rows, self.valid_rows, self.sample_seed = train_rows, valid_rows, sample_seed
        self.train: PromptSet | None = None
        self.valid: PromptSet | None = None

    def setup(self, stage: str) -> None:
        """Tokenise the rows that `stage` needs, once.

        Raises:
            UserError: the training or validation rows are all of one class.
        """
        if stage == "fit" and self.train is None:
            self.train = self.build(self.sample("train", self.train_rows), show=self.share.rank == 0)
        if stage in ("fit", "validate") and self.valid is None:
            self.valid = self.build(self.sample("valid", self.valid_rows), show=self.share.rank == 0)

    def sample(self, split: Literal["train", "valid"], rows: int | Literal["published"] | None) -> Rows:
        """Return the rows of a split that this run uses.

        Raises:
            UserError: they are all of one class.
        """
        sample = self.data.sample(split, rows, self.sample_seed)
        if len(np.unique(sample.label)) < 2:
            only = "there are none" if not len(sample) else f"all {len(sample)} have the label {sample.label[0]:.0f}"
            raise UserError(
                f"{split} rows: {only}: choose data.positive or data.{split}_rows so that both labels occur"
            )
        return sample

    @property
    def share(self) -> Share:
        """This process's part of the work."""
        return Share(self.trainer.global_rank, self.trainer.world_size) if self.trainer else Share()

    def train_dataloader(self) -> TrainLoader[PromptBatch]:
        """Return the training batches, an endless run's order included."""
        assert self.train is not None
        repeat = bool(getattr(self.trainer, "overfit_batches", 0))
        order = BatchOrder(self.train.prompts.lengths, self.batch_rows, self.seed, repeat)
        return TrainLoader(self.train, order, self.pad_id, self.padding, self.share)

    def val_dataloader(self) -> ScoreLoader:
        """Return the validation rows."""
        assert self.valid is not None
        return self.score_loader(self.valid, valid_share(self.trainer, self.share))

    def score_loader(self, prompts: PromptSet, share: Share | None = None) -> ScoreLoader:
        """Return batches that score every row once, on all processes of `share` together."""
        return ScoreLoader(prompts, self.token_budget, self.pad_id, self.padding, share)
