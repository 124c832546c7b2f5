"""A whole record made of made-up predictions."""

from dataclasses import replace

import numpy as np

from recsys_lora.report.report import Scored, build
from tests.evaluation.examples import predictions

RUN = {"name": "a run", "model": "cora", "data": "ml_1m", "cf": "sasrec", "llm": "tiny", "seed": 1, "tags": ["x"]}
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


def record(draws=50, **options):
    method = predictions(signal=1.0)
    part = np.arange(len(method)) % 3 == 0
    shuffled = replace(method.take(part), score=np.random.default_rng(0).normal(size=part.sum()))
    lines = [
        Scored("item popularity", "popularity", predictions(signal=0.3)),
        Scored("SASRec", "cf", predictions(signal=0.6)),
        Scored("frozen LLM", "frozen_llm", predictions(signal=0.0)),
        Scored("CoRA", "method", method),
        Scored("CoRA, users shuffled", "method_shuffled", shuffled, sample=True),
    ]
    run = RUN | {"training": TRAINING, "scoring": SCORING}
    return build(run, lines, draws=draws, valid={"auc": 0.7, "step": 30}, seconds={"test": 1.5}, **options)
