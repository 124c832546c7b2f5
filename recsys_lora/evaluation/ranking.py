"""Metrics of millions of rows at once: AUC and its per-user mean, log loss, and NDCG, HR and MRR of lists.

AUC is the chance that a random positive row scores above a random negative one, a tie counting one half
(Mann-Whitney; what scikit-learn's `roc_auc_score` computes). It is exact and takes one sort: see `grouped_auc.py`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys_lora.evaluation.grouped_auc import grouped_auc, numbered

Array = NDArray[Any]
Floats = NDArray[np.float64]


def auc(label: Array, score: Array) -> float:
    """Return the area under the ROC curve over all rows.

    Args:
        label: (n,) 0 or 1 (or booleans).
        score: (n,) any order-preserving score; infinities are allowed.

    Returns:
        A number in [0, 1]; NaN where one of the classes is missing.

    Raises:
        ValueError: lengths differ, a label is neither 0 nor 1, or a score is NaN.
    """
    positive, score = checked(label, score)
    values = grouped_auc(np.zeros(len(score), dtype=np.int64), positive, score)[1]
    return float(values[0]) if len(values) else float("nan")


def user_auc(user: Array, label: Array, score: Array) -> tuple[Array, Floats]:
    """Return each user's own AUC, for the users that have rows of both classes.

    Args:
        user: (n,) ids of any sortable dtype, in any order.
        label: (n,) 0 or 1.
        score: (n,).

    Returns:
        The users, ascending, (m,), and their AUC, (m,) float64.

    Raises:
        ValueError: as for `auc`.
    """
    positive, score = checked(label, score)
    user = np.asarray(user)
    if user.shape != score.shape:
        raise ValueError(f"user has shape {user.shape}, score {score.shape}")
    names, number = numbered(user)
    found, values = grouped_auc(number, positive, score)
    return names[found], values


def uauc(user: Array, label: Array, score: Array) -> tuple[float, int]:
    """Return the unweighted mean of the users' AUC and the number of users in it.

    Users with rows of only one class have no AUC and are left out; with no user left the mean is NaN.
    """
    users, values = user_auc(user, label, score)
    return (float(values.mean()) if len(users) else float("nan")), len(users)


def log_loss(label: Array, logit: Array) -> float:
    """Return the mean binary cross-entropy in nats, computed from logits in float64; NaN without rows."""
    positive, logit = checked(label, logit)
    return float(row_log_loss(positive, logit).mean()) if len(logit) else float("nan")


def row_log_loss(label: Array, logit: Array) -> Floats:
    """Return each row's binary cross-entropy, (n,), without overflow for logits of any size."""
    x = np.asarray(logit, dtype=np.float64)
    return np.where(label, np.logaddexp(0.0, -x), np.logaddexp(0.0, x))


def checked(label: Array, score: Array) -> tuple[NDArray[np.bool_], Array]:
    """Return labels as booleans and scores as an array, after the checks that every metric needs.

    Raises:
        ValueError: shapes differ, a label is neither 0 nor 1, or a score is NaN.
    """
    label, score = np.asarray(label), np.asarray(score)
    if label.ndim != 1 or label.shape != score.shape:
        raise ValueError(f"label has shape {label.shape}, score {score.shape}: both must be (n,)")
    positive = label == 1
    if not (positive | (label == 0)).all():
        raise ValueError(f"labels must be 0 or 1, found {np.unique(label[~positive & (label != 0)])[:3]}")
    if (missing := int(np.isnan(score).sum())) > 0:
        raise ValueError(f"{missing} of {len(score)} scores are NaN")
    return positive, score


def ndcg_at(score: Array, relevance: Array, k: int) -> Floats:
    """Return each query's NDCG@k, (Q,), with linear gain and log2 discount; NaN where nothing is relevant.

    Among equal scores the less relevant candidate comes first, here and in the other list metrics: a model that
    scores everything alike gets the worst possible list instead of a lucky one, and the result does not depend on the
    candidates' order. The mean over queries is `np.nanmean` of the result.

    Args:
        score: (Q, C); -inf marks a missing candidate (queries with fewer candidates).
        relevance: (Q, C), 0 for irrelevant, larger for better.
        k: from 1.

    Raises:
        ValueError: shapes differ, a score is NaN, or a relevance is negative.
    """
    listed = _best_first(score, relevance)[:, :k].astype(np.float64)  # (Q, min(k, C))
    ideal = np.sort(relevance, axis=1)[:, ::-1][:, :k].astype(np.float64)
    discount = 1 / np.log2(np.arange(2, listed.shape[1] + 2))
    gain: Floats = listed @ discount
    best: Floats = ideal @ discount
    return _where_relevant(relevance, gain / np.where(best > 0, best, 1.0))


def hit_rate_at(score: Array, relevance: Array, k: int) -> Floats:
    """Return 1.0 where a relevant candidate is among the first k, else 0.0, (Q,); NaN where nothing is relevant."""
    hit = (_best_first(score, relevance)[:, :k] > 0).any(axis=1)
    return _where_relevant(relevance, np.asarray(hit, dtype=np.float64))


def mrr(score: Array, relevance: Array) -> Floats:
    """Return the reciprocal rank of each query's first relevant candidate, (Q,); NaN where nothing is relevant."""
    relevant = _best_first(score, relevance) > 0
    return _where_relevant(relevance, (relevant / np.arange(1, relevant.shape[1] + 1)).max(axis=1, initial=0.0))


def _best_first(score: Array, relevance: Array) -> Array:
    """Return each query's relevance (Q, C) in the order of its list; see `ndcg_at` for ties and errors."""
    score, relevance = np.asarray(score), np.asarray(relevance)
    if score.ndim != 2 or score.shape != relevance.shape:
        raise ValueError(f"score has shape {score.shape}, relevance {relevance.shape}: both must be (Q, C)")
    if (missing := int(np.isnan(score).sum())) > 0:
        raise ValueError(f"{missing} of {score.size} scores are NaN")
    if (relevance < 0).any():
        raise ValueError("relevance must not be negative")
    order = np.argsort(score, axis=1)[:, ::-1]
    listed, ordered = np.take_along_axis(relevance, order, axis=1), np.sort(score, axis=1)
    # Sorting by two keys takes ten times as long as by one: only queries where the second may matter use both.
    tied = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    order = np.lexsort((relevance[tied], -score[tied]), axis=1)
    listed[tied] = np.take_along_axis(relevance[tied], order, axis=1)
    return listed


def _where_relevant(relevance: Array, value: Floats) -> Floats:
    return np.where((np.asarray(relevance) > 0).any(axis=1), value, np.nan)
