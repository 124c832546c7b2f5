"""A whole record made of made-up predictions of four tasks."""

import copy

from tests.tasks.examples import block

RUN = {"name": "a run", "model": "cora", "data": "ml_1m", "cf": "sasrec", "llm": "tiny", "seed": 1, "tags": ["x"]}
TASKS = ("ctr", "topk", "rating", "explanation")
TRAINING = {
    "trained_parameters": 1200,
    "frozen_parameters": 34000,
    "rows": 320,
    "valid_rows": 32,
    "steps": 40,
    "seconds": 12.5,
    "reused": False,
}
SCORING = {"rows": 600, "seconds": 30.0, "rows_per_second": 20.0}


def record(*tasks, draws=30):
    """Return what a run's metrics.json holds."""
    blocks = {name: {**block(name, draws), "scoring": SCORING} for name in tasks or TASKS}
    rest = {"tasks": blocks, "valid": {"loss": 0.7, "step": 30}, "training": TRAINING, "draws": draws}
    return copy.deepcopy(RUN | rest | {"seconds": {"test": 1.5}})
