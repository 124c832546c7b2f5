"""Would this user like this item? Yes or No; the score is logit(Yes) - logit(No)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, cast

import numpy as np
from numpy.typing import NDArray

from recsys_lora.data.examples import NO, YES
from recsys_lora.data.prepared import PreparedData, Rows
from recsys_lora.data.schema import SplitName
from recsys_lora.errors import UserError
from recsys_lora.evaluation.statistics import AUC, UAUC, Statistic
from recsys_lora.evaluation.trivial import ItemMean, global_mean
from recsys_lora.prompts.template import Template
from recsys_lora.tasks.negatives import NegativeSampler
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.scale import RatingScale
from recsys_lora.tasks.task import Floats, Kind, Output, Task, generator, report_left_out, sample
from recsys_lora.types import NonNegativeFloat, PositiveInt

Negatives = Literal["auto", "rated", "sampled"]


class ClickThrough(Task):
    """Click-through: positives against low ratings, or against sampled items.

    Args:
        text: see `Task`.
        collaborative: see `Task`.
        train_share: see `Task`.
        negatives: `rated` asks every labelled row; `sampled` asks every positive of the split and sampled items
            beside it; `auto` is `rated` unless the split leaves one test row a user, where no user has both.
        ctr_negatives: sampled items a positive, in valid and test; the metrics' names carry it.
        train_negatives: the same in train; 1 makes both answers equally frequent.
        authors_negatives: sample from all items, a user's other positives included, as the authors' code does.
    """

    name: ClassVar[str] = "ctr"
    encoder_answers: ClassVar[bool] = True
    kind: Kind = "choice"

    def __init__(
        self,
        text: Template,
        collaborative: Template,
        train_share: NonNegativeFloat = 1.0,
        negatives: Negatives = "auto",
        ctr_negatives: PositiveInt = 4,
        train_negatives: PositiveInt = 1,
        authors_negatives: bool = False,
    ) -> None:
        super().__init__(text, collaborative, train_share)
        self.negatives, self.authors_negatives = negatives, authors_negatives
        self.ctr_negatives, self.train_negatives = ctr_negatives, train_negatives

    def choices(self, scale: RatingScale) -> tuple[str, ...]:
        """Return Yes and No."""
        return ("Yes", "No")

    def questions(
        self, data: PreparedData, scale: RatingScale, split: SplitName, limit: int | None, seed: int
    ) -> Questions:
        """Return the split's rows, or its positives each with the sampled items beside it.

        Raises:
            UserError: the catalogue is too small to sample from.
        """
        rows, random = data.rows(split), generator(self.name, split, seed)
        if not self._sampled(data):
            rows = rows.take(sample(len(rows), limit, random))
            return Questions.of(rows, np.where(rows.label > 0, YES, NO), rows.label)
        return self._beside_positives(data, rows, split, limit, random)

    def _sampled(self, data: PreparedData) -> bool:
        one_test_row = data.manifest.get("split", {}).get("split") == "leave_last_out"
        return self.negatives == "sampled" or (self.negatives == "auto" and one_test_row)

    def _beside_positives(
        self, data: PreparedData, rows: Rows, split: SplitName, limit: int | None, random: np.random.Generator
    ) -> Questions:
        count = self.train_negatives if split == "train" else self.ctr_negatives
        sampler = NegativeSampler(data, split, "uniform", self.authors_negatives)
        positives = rows.take(rows.label > 0)
        enough = sampler.available(positives.user) >= count
        reason = f"the user likes all but fewer than {count} items"
        report_left_out(self.name, split, reason, int((~enough).sum()), len(positives))
        if len(positives) and not enough.any():
            raise UserError(
                f"task ctr: no user has {count} items left to sample in {split} ({data.num_items} items): "
                "lower ctr_negatives and train_negatives"
            )
        positives = positives.take(enough)
        groups = None if limit is None else max(1, limit // (1 + count))
        positives = positives.take(sample(len(positives), groups, random))
        drawn = sampler.draw(positives.user, positives.item, count, random)  # (p, count)
        items = np.concatenate([positives.item[:, None], drawn], axis=1).reshape(-1)  # (p * (1 + count),)
        label = np.tile(np.arange(1 + count) == 0, len(positives)).astype(np.float32)
        every = replace(positives.take(np.repeat(np.arange(len(positives)), 1 + count)), item=items, label=label)
        suffix = f"_neg{count}_any" if self.authors_negatives else f"_neg{count}"
        return replace(Questions.of(every, np.where(label > 0, YES, NO), label), suffix=suffix)

    def predict(self, raw: Floats | Sequence[str], questions: Questions, scale: RatingScale) -> Floats:
        """Return logit(Yes) - logit(No), (n,), from logits (n, 2)."""
        logits = np.asarray(raw, dtype=np.float64)
        return logits[:, YES] - logits[:, NO]

    def from_encoder(self, scores: Floats) -> Floats:
        """Return the logit of the one candidate, (n,)."""
        return scores[:, 0]

    def measures(self, questions: Questions, output: Output) -> list[Statistic]:
        """Return AUC over all rows and the mean of the users' own."""
        score = cast("NDArray[Any]", output)
        return [
            AUC(f"auc{questions.suffix}", questions.user, questions.label, score),
            UAUC(f"uauc{questions.suffix}", questions.user, questions.label, score),
        ]

    def trivial(
        self, data: PreparedData, scale: RatingScale, questions: Questions, train: Questions
    ) -> dict[str, Output]:
        """Return a constant, each item's count in train, and the share of its training questions answered Yes."""
        mean = ItemMean.fit(train.item, train.label, data.num_items)
        return {
            "constant": global_mean(train.label, len(questions)),
            "popularity": data.train_counts()[1][questions.item].astype(np.float64),
            "item_mean": mean.score(questions.item),
        }
