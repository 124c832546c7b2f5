"""One set of predictions, summed up: AUC, UAUC and log loss of all rows, of the warm and of the cold ones.

What cannot be computed (one class only, no rows) is None, and `undefined` says why: never NaN, never a made-up number.
"""

from typing import Any

import numpy as np

from recsys_lora.evaluation.predictions import Predictions
from recsys_lora.evaluation.significance import METRICS, intervals
from recsys_lora.evaluation.warmth import COLD, DEFINITIONS, WARM, Definition
from recsys_lora.metrics.ranking import auc, log_loss, uauc

Block = dict[str, Any]


def evaluate(predictions: Predictions, warm: Definition = "seen", draws: int = 0, seed: int = 0) -> Block:
    """Sum up predictions.

    Args:
        predictions: scored rows, scores being logits.
        warm: the definition behind the blocks `warm` and `cold`.
        draws: bootstrap draws over users for 95 % intervals; 0 leaves intervals out.
        seed: decides the draws.

    Returns:
        The block of all rows (see `block`) with further blocks under `warm` and `cold`, the definition's name under
        `warm_definition`, and for each other definition a mapping with its own `warm` and `cold`.
    """
    result = block(predictions, draws, seed)
    result["warm_definition"] = warm
    result |= _warm_and_cold(predictions, warm, draws, seed)
    for other in DEFINITIONS:
        if other != warm:
            result[other] = _warm_and_cold(predictions, other, 0, seed)
    return result


def block(predictions: Predictions, draws: int = 0, seed: int = 0) -> Block:
    """Return rows, positives, auc, uauc, uauc_users, log_loss, undefined and, with draws, intervals of some rows."""
    rows, positives = len(predictions), int(predictions.label.sum())
    value, users = uauc(predictions.user, predictions.label, predictions.score)
    result: Block = {
        "rows": rows,
        "positives": positives,
        "auc": _number(auc(predictions.label, predictions.score)),
        "uauc": _number(value),
        "uauc_users": users,
        "log_loss": _number(log_loss(predictions.label, predictions.score)),
        "undefined": {},
    }
    reasons = {
        "auc": "no rows" if not rows else f"one class only: {positives} of {rows} rows are positive",
        "uauc": "no rows" if not rows else "no user has rows of both classes",
        "log_loss": "no rows" if not rows else "a score is infinite on the wrong side",
    }
    result["undefined"] = {name: reason for name, reason in reasons.items() if result[name] is None}
    if draws:
        found = intervals(predictions, draws=draws, seed=seed)
        result["intervals"] = {
            name: [found[name].low, found[name].high]
            for name in METRICS
            if result[name] is not None and np.isfinite([found[name].low, found[name].high]).all()
        }
    return result


def _warm_and_cold(predictions: Predictions, definition: Definition, draws: int, seed: int) -> Block:
    flags = predictions.warm[definition]
    return {
        "warm": block(predictions.take(flags == WARM), draws, seed),
        "cold": block(predictions.take(flags == COLD), draws, seed),
    }


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
