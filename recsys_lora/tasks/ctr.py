"""Would this user like this item? Yes or No."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from recsys_lora.data.prepared import PreparedData, Rows
from recsys_lora.data.schema import SplitName
from recsys_lora.evaluation.baselines import PositiveShare, global_mean, item_and_user
from recsys_lora.evaluation.ranking import row_log_loss
from recsys_lora.evaluation.statistics import AUC, UAUC, Mean, Statistic
from recsys_lora.tasks.negatives import NegativeSampler
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.selection import Limit, asked_rows, generator, sample, within
from recsys_lora.tasks.task import CTR, Floats, Kind, Output, RangedOptions, Task
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.types import PositiveInt

Negatives = Literal["auto", "rated", "sampled"]
_ITEM_MEAN, _USER_SHARE = "item_mean", "user_share"
YES, NO = 0, 1
"""Indices of the two answers among the choices."""


def of_rows(rows: Rows) -> Questions:
    """Return, for each row, the question whether the user likes the item."""
    return Questions.of(rows, np.where(rows.label > 0, YES, NO), rows.label)


class ClickThrough(Task):
    """Click-through: positives against low ratings, or against sampled items.

    Args:
        negatives: `rated` asks about every labelled row; `sampled` about every positive of the split and items sampled
            for it; `auto` is `rated` unless the split leaves one test row per user, where no user has both labels. For
            data without ratings, `rated` asks about the items sampled when the data were prepared.
        ctr_negatives: sampled items per positive, in valid and test; part of the metrics' names.
        train_negatives: the same in train; 1 makes both answers equally frequent.
        authors_negatives: sample from all items, including a user's other positives, as the authors' code does.
        options: see `RangedOptions`.
    """

    name: ClassVar[str] = CTR
    is_binary: ClassVar[bool] = True
    encoder_answers: ClassVar[bool] = True
    stacked: ClassVar[tuple[str, ...]] = (_ITEM_MEAN, _USER_SHARE)
    kind: Kind = "choice"

    def __init__(
        self,
        *,
        negatives: Negatives = "auto",
        ctr_negatives: PositiveInt = 4,
        train_negatives: PositiveInt = 1,
        authors_negatives: bool = False,
        **options: Unpack[RangedOptions],
    ) -> None:
        super().__init__(**options)
        self.negatives = negatives
        self.authors_negatives = authors_negatives
        self.ctr_negatives = ctr_negatives
        self.train_negatives = train_negatives

    @property
    def choices(self) -> tuple[str, ...]:
        """Yes and No."""
        return ("Yes", "No")

    def questions(self, data: PreparedData, split: SplitName, limit: Limit, seed: int) -> Questions:
        """Return the split's rows, or its positives, each with the items sampled for it.

        Raises:
            UserError: the catalogue is too small to sample from, or the split has no published sample.
        """
        one_test_row = data.manifest["split"]["split"] == "leave_last_out"
        if self.negatives == "sampled" or (self.negatives == "auto" and one_test_row):
            return self._beside_positives(data, split, limit, seed)
        count = data.sampled_negatives(split)
        return replace(of_rows(self._labelled(data, split, limit, seed)), suffix=f"_neg{count}" if count else "")

    def item_questions(self, train: Questions) -> Questions:
        """Return one question per item, without a user; its label is the smoothed share of positives."""
        shares = PositiveShare.fit(train.item, train.label, int(train.item.max(initial=0)))
        _, first = np.unique(train.item, return_index=True)
        items = train.take(first)
        label = shares.chance(items.item).astype(np.float32)
        nobody = np.zeros_like(items.user)
        return replace(items, user=nobody, position=nobody, label=label, target=np.where(label > 0.5, YES, NO))

    def check(self, questions: Questions, split: SplitName) -> None:
        """Reject questions of one class.

        Raises:
            UserError: all are of one class.
        """
        label = questions.label
        if len(np.unique(label)) < 2:
            only = "there are none" if not len(label) else f"all {len(label)} have the label {label[0]:.0f}"
            raise UserError(
                f"{split} rows: {only}: choose data.positive or data.{split}_rows so that both labels occur"
            )

    def _labelled(self, data: PreparedData, split: SplitName, limit: Limit, seed: int) -> Rows:
        """Return labelled rows within the range, or a sample of them; the published one is in its own order."""
        if self.history_range is None or not isinstance(limit, int):
            return within(data.sample(split, limit, seed), self.history_range)
        rows = within(data.rows(split), self.history_range)
        return rows.take(sample(len(rows), limit, generator(self.name, split, seed)))

    def _beside_positives(self, data: PreparedData, split: SplitName, limit: Limit, seed: int) -> Questions:
        rows, most = asked_rows(data, split, limit, seed, self.history_range)
        random = generator(self.name, split, seed)
        count = self.train_negatives if split == "train" else self.ctr_negatives
        sampler = NegativeSampler(data, split, "uniform", self.authors_negatives)
        advice = "lower ctr_negatives and train_negatives"
        positives = sampler.drawable(rows.take(rows.label > 0), count, self, advice)
        groups = None if most is None else max(1, most // (1 + count))
        positives = positives.take(sample(len(positives), groups, random))
        drawn = sampler.draw(positives.user, positives.item, count, random)  # (p, count)
        items = np.concatenate([positives.item[:, None], drawn], axis=1).reshape(-1)  # (p * (1 + count),)
        label = np.tile(np.arange(1 + count) == 0, len(positives)).astype(np.float32)
        every = replace(positives.take(np.repeat(np.arange(len(positives)), 1 + count)), item=items, label=label)
        suffix = f"_neg{count}_any" if self.authors_negatives else f"_neg{count}"
        return replace(of_rows(every), suffix=suffix)

    def from_encoder(self, scores: Floats) -> Floats:
        """Return the logit of the single candidate, (n,)."""
        return scores[:, 0]

    def averaged(self, outputs: Sequence[Output]) -> Floats:
        """Return the logit of the mean over seeds of sigmoid(score), the predicted probability of Yes.

        It is computed in log space, so that extreme scores stay distinct: one seed's are unchanged.
        """
        scores = np.stack([np.asarray(output, dtype=np.float64) for output in outputs])  # (seeds, n)
        yes, no = -np.logaddexp(0.0, -scores), -np.logaddexp(0.0, scores)
        return np.asarray(np.logaddexp.reduce(yes, axis=0) - np.logaddexp.reduce(no, axis=0))

    def metrics(self, questions: Questions, output: Output) -> list[Statistic]:
        """Return AUC over all rows, the mean of the users' AUC, and the log loss of the score as a logit."""
        score: NDArray[Any] = np.asarray(output, dtype=np.float64)
        user, label, suffix = questions.user, questions.label, questions.suffix
        return [
            AUC(f"auc{suffix}", user, label, score),
            UAUC(f"uauc{suffix}", user, label, score),
            Mean(f"log_loss{suffix}", user, row_log_loss(label, score), higher_is_better=False),
        ]

    def baselines(self, data: PreparedData, questions: Questions, train: Questions) -> dict[str, Output]:
        """Return a constant, each item's count in train, and shares of training questions answered Yes.

        The shares are the item's, the user's, and both combined.
        """
        items = PositiveShare.fit(train.item, train.label, data.num_items)
        users = PositiveShare.fit(train.user, train.label, data.num_users)
        return {
            "constant": global_mean(train.label, len(questions)),
            "popularity": np.log1p(data.train_counts()[1][questions.item].astype(np.float64)),
            _ITEM_MEAN: items.score(questions.item),
            _USER_SHARE: users.score(questions.user),
            "item_user": item_and_user(items, users, questions.item, questions.user),
        }
