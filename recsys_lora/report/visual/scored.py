"""Scores of click-through questions, prepared for figures: ROC, calibration, users, slices, disagreement."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_lora.evaluation.bootstrap import draws_of, percentiles
from recsys_lora.evaluation.ranking import auc
from recsys_lora.evaluation.statistics import AUC
from recsys_lora.tasks.lines import SCORE

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
POINTS = 200
"""Maximum points of a curve."""
_BINS = 10
_PARTS = 3
"""Number of groups of similar size of values above 0."""
_DRAWS, _SEED = 100, 0
EXAMPLES = 10
_FURTHEST = 0.1
"""Fraction of questions on which two lines differ most."""


@dataclass(frozen=True)
class Scored:
    """One line's scores of n questions.

    Attributes:
        name: name of the line, or of the run whose method it is.
        style: index of its drawing style.
        table: the questions, as `tasks.lines` writes them.
        column: name of the line in the table.
    """

    name: str
    style: int
    table: pl.DataFrame
    column: str

    @property
    def score(self) -> Floats:
        """Scores (n,)."""
        return np.asarray(self.table[SCORE + self.column].to_numpy(), dtype=np.float64)

    @property
    def label(self) -> Flags:
        """Whether each question is positive (n,)."""
        return np.asarray(self.table["label"].to_numpy() > 0)

    @property
    def has_both_classes(self) -> bool:
        """Whether some questions are positive and some are not."""
        return bool(self.label.any() and not self.label.all())

    @property
    def user(self) -> NDArray[np.object_]:
        """Raw user ids (n,)."""
        return self.table["user_id"].to_numpy()


def roc(label: Flags, score: Floats) -> tuple[Floats, Floats]:
    """Return false and true positive rates from (0, 0) to (1, 1), at thresholds between distinct scores."""
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.r_[np.diff(score[order]) != 0, True])
    if len(ends) > POINTS:
        ends = ends[np.linspace(0, len(ends) - 1, POINTS).astype(int)]
    true = np.cumsum(label[order])[ends] / label.sum()
    false = np.cumsum(~label[order])[ends] / (~label).sum()
    return np.r_[0.0, false], np.r_[0.0, true]


def calibration(label: Flags, score: Floats) -> Iterator[tuple[float, float, float, int]]:
    """Yield mean probability, share of positives, its standard error and size of ten groups of rising probability."""
    chance = 1 / (1 + np.exp(-np.clip(score, -700, 700)))
    for places in np.array_split(np.argsort(chance, kind="stable"), _BINS):
        if len(places):
            share = float(label[places].mean())
            yield float(chance[places].mean()), share, float(np.sqrt(share * (1 - share) / len(places))), len(places)


def grouped(values: NDArray[np.int64]) -> list[tuple[str, Flags]]:
    """Return groups of non-negative numbers: zero, and positive ones in up to three groups of similar size."""
    above = np.sort(values[values > 0])
    ends = {int(above[len(above) * part // _PARTS - 1]) for part in range(1, _PARTS + 1) if len(above)}
    groups, before = [("0", values == 0)], 0
    for end in sorted(ends):
        inside = (values > before) & (values <= end)
        low, high = int(values[inside].min()), int(values[inside].max())
        groups.append((f"{low:,}" if low == high else f"{low:,}–{high:,}", inside))
        before = end
    return [(name, flags) for name, flags in groups if flags.any()]


def slices(table: pl.DataFrame) -> dict[str, list[tuple[str, Flags]]]:
    """Return named groups of questions: warm and cold, by length of history, by popularity of the item."""
    users, items = table["user_rows"].to_numpy(), table["item_rows"].to_numpy()
    seen = (users > 0) & (items > 0)
    kinds = [("warm", seen), ("new user", (users == 0) & (items > 0)), ("new item", (users > 0) & (items == 0))]
    kinds.append(("both new", (users == 0) & (items == 0)))
    return {
        "warm and cold": [(name, flags) for name, flags in kinds if flags.any()],
        "positives before the question": grouped(table["history_length"].to_numpy()),
        "training rows of the item": grouped(items),
    }


def auc_within(line: Scored, inside: Flags) -> tuple[float, float, float] | None:
    """Return the AUC on the questions `inside` and its 95 % bootstrap interval over users.

    None if a class is missing, or all questions are of one user.
    """
    label, score, user = line.label[inside], line.score[inside], line.user[inside]
    statistic = AUC("auc", user, label, score)
    value = statistic.value()
    if value is None:
        return None
    low, high = percentiles(draws_of([statistic], user, _DRAWS, _SEED)[0])
    return (value, low, high) if np.isfinite([low, high]).all() else None


def percentile(score: Floats) -> Floats:
    """Return the rank of each score among all, scaled to [0, 1]; ties get their mean rank."""
    _, group, size = np.unique(score, return_inverse=True, return_counts=True)
    middle: Floats = (np.cumsum(size) - (size + 1) / 2)[group]
    return middle / max(1, len(score) - 1)


@dataclass(frozen=True)
class Disagreement:
    """Where two lines differ most, by the percentiles of a question's scores.

    Attributes:
        first: percentiles of the first line's scores (n,).
        second: those of the second's (n,).
        above: indices of the questions that the second ranks furthest above the first.
        below: indices of those furthest below.
        rows: questions behind `aucs`: those on which they differ most.
        aucs: AUC of the first and the second on these; None if a class is missing.
    """

    first: Floats
    second: Floats
    above: Sequence[int]
    below: Sequence[int]
    rows: int
    aucs: tuple[float, float] | None


def disagreement(first: Scored, second: Scored) -> Disagreement:
    """Compare two lines on the same questions."""
    ranks = percentile(first.score), percentile(second.score)
    gap = ranks[1] - ranks[0]
    order = np.argsort(-gap, kind="stable").tolist()
    above = [place for place in order[:EXAMPLES] if gap[place] > 0]
    below = [place for place in order[::-1][:EXAMPLES] if gap[place] < 0]
    furthest = np.argsort(-np.abs(gap), kind="stable")[: max(1, round(_FURTHEST * len(gap)))]
    label = first.label[furthest]
    both = 0 < label.sum() < len(label)
    aucs = (auc(label, first.score[furthest]), auc(label, second.score[furthest])) if both else None
    return Disagreement(*ranks, above, below, len(furthest), aucs)
