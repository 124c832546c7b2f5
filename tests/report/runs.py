"""Run folders of made-up predictions, as a comparison reads them."""

import copy
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf

from recsys_lora.evaluation.predictions import Predictions, write_predictions
from recsys_lora.files import write_json, write_text
from recsys_lora.report.metrics_json import write_metrics
from recsys_lora.report.report import Scored, build
from tests.evaluation.examples import predictions
from tests.report.examples import SCORING, TRAINING

USERS, ITEMS = [f"u{number}" for number in range(100)], [f"i{number}" for number in range(100)]
CONFIG = {
    "name": "a run",
    "tags": [],
    "seed": 1,
    "paths": {"runs": "runs", "run": "somewhere"},
    "data": {"name": "ml_1m", "root": "/data/ml-1m", "train_rows": 320},
    "cf": {"name": "mf", "encoder": {"dim": 8}, "trainer": {"accelerator": "auto"}},
    "llm": {"name": "tiny", "dtype": "float32"},
    "model": {"name": "cora", "rank": 4},
    "trainer": {"accelerator": "cpu", "max_epochs": 1},
    "callbacks": {"checkpoint": {"folder": "somewhere/checkpoints", "monitor": "valid/auc"}, "progress": {"x": 1}},
    "logger": {"csv": {"save_dir": "somewhere"}},
}
ENVIRONMENT = {
    "git": {"commit": "abc", "branch": "main", "dirty": False, "changed": []},
    "command": "python -m recsys_lora.run",
    "started": "2026-01-01T00:00:00+00:00",
    "python": "3.11.7",
    "packages": {"torch": "2.6"},
    "hardware": {"processor": "x86_64", "threads": 2, "gpus": []},
}


def run_folder(
    folder: Path,
    model: str = "cora",
    cf: str | None = "mf",
    seed: int = 1,
    scored: Predictions | None = None,
    overrides: tuple[str, ...] = ("data=ml_1m", "data.root=/home/me/ml-1m"),
    llm: str | None = "tiny",
    cost: bool = True,
    **changed: object,
) -> Path:
    """Write the folder of a run.

    Args:
        folder: where.
        model: `model.name`; one that is the encoder's name is that encoder alone.
        cf: `cf.name`.
        seed: of the run, and of made-up scores.
        scored: its predictions; made up of the seed by default, on the same rows for all seeds.
        overrides: of its command line.
        llm: the backbone's name.
        cost: it knows what training and scoring took.
        changed: config values by dotted keys, dots written as two underscores.
    """
    scored = noisy(seed) if scored is None else scored
    llm = None if model == cf else llm
    config = OmegaConf.create(copy.deepcopy(CONFIG) | {"seed": seed})
    config.model.name, config.cf.name = model, cf
    config.paths.run = config.logger.csv.save_dir = str(folder)
    config.callbacks.checkpoint.folder = str(folder / "checkpoints")
    for key, value in changed.items():
        OmegaConf.update(config, key.replace("__", "."), value)
    write_text(folder / "config.yaml", OmegaConf.to_yaml(config))
    write_text(folder / ".hydra" / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create([*overrides, f"seed={seed}"])))
    write_json(folder / "environment.json", ENVIRONMENT)
    run = {"name": "a run", "model": model, "data": "ml_1m", "cf": cf, "llm": llm, "seed": seed, "tags": []}
    if cost and llm:
        run |= {"training": TRAINING | {"seconds": 10.0 * seed}, "scoring": SCORING}
    write_metrics(folder / "metrics.json", build(run, [Scored(model, "method", scored)], draws=0))
    write_predictions(folder / "predictions.parquet", scored, USERS, ITEMS)
    return folder


def noisy(seed: int, signal: float = 0.7) -> Predictions:
    """Return predictions of always the same rows, whose scores depend on the seed."""
    rows = predictions()
    scores = signal * rows.label + np.random.default_rng(seed).normal(size=len(rows))
    return Predictions(rows.row, rows.user, rows.item, rows.label, scores, rows.split, rows.warm)
