"""Predictions made up for tests."""

import numpy as np

from recsys_lora.evaluation.predictions import Predictions


def predictions(rows=600, users=30, seed=0, signal=0.7, split="test"):
    rng = np.random.default_rng(seed)
    user, item = rng.integers(1, users + 1, rows), rng.integers(1, 50, rows)
    label = rng.integers(0, 2, rows).astype(np.int8)
    score = np.round(rng.normal(size=rows) + signal * label, 1)
    seen = rng.integers(0, 2, rows).astype(np.int8)
    warm = {"seen": seen, "count": seen, "notebook": (rng.integers(0, 3, rows) - 1).astype(np.int8)}
    return Predictions(np.arange(rows) + 1000, user, item, label, score, split, warm)
