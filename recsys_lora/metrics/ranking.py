"""AUC and its per-user mean, for millions of rows at once.

AUC is the chance that a random positive row scores above a random negative one, a tie counting one half
(Mann-Whitney; what scikit-learn's `roc_auc_score` computes). Sorted by score, and with tied rows taken together,

    AUC = sum over ties t of pos_t * (2 * neg_below_t + neg_t)  /  (2 * P * N)

where every term of the numerator is an integer, so the result carries one rounding only. The per-user version is the
same sum over rows sorted by (user, score), the counts starting anew with every user.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    one_group = np.zeros(len(score), dtype=np.int8)
    values = _grouped_auc(one_group, positive, score)[1]
    return float(values[0]) if len(values) else float("nan")


def user_auc(user: Array, label: Array, score: Array) -> tuple[Array, Floats]:
    """Return each user's own AUC, for the users that have rows of both classes.

    Args:
        user: (n,) ids of any sortable kind, in any order.
        label: (n,) 0 or 1.
        score: (n,).

    Returns:
        The users, ascending, (m,), and their AUC, (m,) float64.

    Raises:
        ValueError: as `auc`.
    """
    positive, score = checked(label, score)
    user = np.asarray(user)
    if user.shape != score.shape:
        raise ValueError(f"user has shape {user.shape}, score {score.shape}")
    return _grouped_auc(user, positive, score)


def uauc(user: Array, label: Array, score: Array) -> tuple[float, int]:
    """Return the unweighted mean of the users' AUC and over how many users it goes.

    Users with rows of one class only have no AUC and are left out; with no user left the mean is NaN.
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
    """Return labels as booleans and scores as an array, after the checks that every metric needs."""
    label, score = np.asarray(label), np.asarray(score)
    if label.ndim != 1 or label.shape != score.shape:
        raise ValueError(f"label has shape {label.shape}, score {score.shape}: both must be (n,)")
    positive = label == 1
    if not (positive | (label == 0)).all():
        raise ValueError(f"labels must be 0 or 1, found {np.unique(label[~positive & (label != 0)])[:3]}")
    if (missing := int(np.isnan(score).sum())) > 0:
        raise ValueError(f"{missing} of {len(score)} scores are NaN")
    return positive, score


def _grouped_auc(group: Array, positive: NDArray[np.bool_], score: Array) -> tuple[Array, Floats]:
    """Return the groups with both classes, ascending, and each one's AUC. Time: one sort of the rows."""
    if len(score) == 0:
        return group[:0], np.zeros(0)
    order = np.lexsort((score, group))
    group, positive, score = group[order], positive[order], score[order]
    new_group = np.r_[True, group[1:] != group[:-1]]
    tie_start = np.flatnonzero(new_group | np.r_[True, score[1:] != score[:-1]])
    group_of_tie = np.cumsum(new_group)[tie_start] - 1  # (ties,)

    pos = np.add.reduceat(positive.astype(np.int64), tie_start)
    neg = np.diff(np.r_[tie_start, len(score)]) - pos
    first_tie = np.flatnonzero(np.r_[True, np.diff(group_of_tie) > 0])  # (groups,)
    below = np.cumsum(neg) - neg
    below -= below[first_tie][group_of_tie]

    doubled = np.add.reduceat(pos * (2 * below + neg), first_tie)
    pairs = np.add.reduceat(pos, first_tie) * np.add.reduceat(neg, first_tie)
    both = pairs > 0
    return group[new_group][both], doubled[both] / (2.0 * pairs[both])


def ranks(score: Array, relevance: Array) -> NDArray[np.int64]:
    """Return each candidate's rank among its query's candidates, 1 the best; ties are broken *against* the model.

    Among equal scores the less relevant candidate stands first, so a model that scores everything alike gets the
    worst possible list instead of a lucky one, and the result does not depend on the candidates' order.

    Args:
        score: (Q, C); -inf marks a candidate that is not there (queries with fewer candidates).
        relevance: (Q, C), 0 for irrelevant, larger for better.

    Raises:
        ValueError: shapes differ, a score is NaN, or a relevance is negative.
    """
    score, relevance = np.asarray(score), np.asarray(relevance)
    if score.ndim != 2 or score.shape != relevance.shape:
        raise ValueError(f"score has shape {score.shape}, relevance {relevance.shape}: both must be (Q, C)")
    if np.isnan(score).any():
        raise ValueError(f"{int(np.isnan(score).sum())} of {score.size} scores are NaN")
    if (relevance < 0).any():
        raise ValueError("relevance must not be negative")
    order = np.lexsort((relevance, -score), axis=1)  # (Q, C)
    result = np.empty(score.shape, dtype=np.int64)
    np.put_along_axis(result, order, np.arange(1, score.shape[1] + 1)[None, :], axis=1)
    return result


def ndcg_at(score: Array, relevance: Array, k: int) -> Floats:
    """Return each query's NDCG@k, (Q,), with linear gain and log2 discount; NaN where nothing is relevant.

    Ties as in `ranks`. The mean over queries is `np.nanmean` of the result.
    """
    relevance = np.asarray(relevance, dtype=np.float64)
    rank = ranks(score, relevance)
    gain: Floats = np.where(rank <= k, relevance / np.log2(rank + 1.0), 0.0).sum(axis=1)
    best = -np.sort(-relevance, axis=1)[:, :k]  # (Q, min(k, C))
    ideal: Floats = (best / np.log2(np.arange(2, best.shape[1] + 2))).sum(axis=1)
    return _where_relevant(relevance, np.asarray(gain / np.where(ideal > 0, ideal, 1.0)))


def hit_rate_at(score: Array, relevance: Array, k: int) -> Floats:
    """Return, (Q,), 1.0 where a relevant candidate is among the first k, else 0.0; NaN where nothing is relevant."""
    hit = np.any((ranks(score, relevance) <= k) & (np.asarray(relevance) > 0), axis=1)
    return _where_relevant(relevance, np.asarray(hit, dtype=np.float64))


def mrr(score: Array, relevance: Array) -> Floats:
    """Return one over the rank of each query's first relevant candidate, (Q,); NaN where nothing is relevant."""
    reciprocal: Floats = np.where(np.asarray(relevance) > 0, 1.0 / ranks(score, relevance), 0.0)
    return _where_relevant(relevance, reciprocal.max(axis=1, initial=0.0))


def _where_relevant(relevance: Array, value: Floats) -> Floats:
    """Return `value` with NaN for the queries that have no relevant candidate."""
    return np.where((np.asarray(relevance) > 0).any(axis=1), value, np.nan)
