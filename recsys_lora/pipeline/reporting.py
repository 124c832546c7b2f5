"""The end of a run: answer the same questions for every line of its tables, write the results and print them."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from recsys_lora.callbacks.loggers import close, log_results
from recsys_lora.config.record import RunConfig
from recsys_lora.pipeline.collaborative import Collaborative
from recsys_lora.pipeline.method import Method
from recsys_lora.pipeline.testing import EvaluationRows
from recsys_lora.pipeline.trainer import build_loggers
from recsys_lora.report.flat import flat_metrics, tables
from recsys_lora.report.metrics_schema import Training
from recsys_lora.report.screen import publish

_LOGGED_PREDICTIONS = 100
"""Rows in the logged sample of predictions."""


def report(config: RunConfig, folder: Path, rows: EvaluationRows, seconds: Mapping[str, float]) -> dict[str, Any]:
    """Answer the test questions with everything that the tables compare, write the results and print the tables.

    Returns:
        The contents of metrics.json.
    """
    method, collaborative = rows.method, rows.collaborative
    begun = time.monotonic()
    tasks = rows.records(folder)
    record = {
        "name": config.name,
        "model": config.model["name"],
        "data": config.data.name,
        "cf": collaborative.name if collaborative else None,
        "llm": method.module.backbone.label if method else None,
        "seed": config.seed,
        "tags": config.tags,
        "tasks": tasks,
        "valid": _valid(collaborative, method),
        "training": _training_block(method),
        "draws": config.evaluation.draws,
        "seconds": {**seconds, "test": round(time.monotonic() - begun, 2)},
    }
    return publish(record, folder)


def _training_block(method: Method | None) -> dict[str, Any] | None:
    """Return the training record; None for a CF model alone, and for a tested checkpoint, whose training is unknown."""
    if method is None or (method.module.trains and not method.training):
        return None
    if method.training:
        return {name: method.training[name] for name in Training.model_fields}
    nothing = dict.fromkeys(("trained_parameters", "rows", "valid_rows", "steps"), 0)
    return {**nothing, "frozen_parameters": method.module.backbone.size, "seconds": 0.0, "reused": False}


def log_report(config: RunConfig, folder: Path, metrics: Mapping[str, Any]) -> None:
    """Log the final tables, every metric of the method and a sample of its predictions to the run's loggers."""
    loggers = build_loggers(config)
    shown = dict(tables(metrics))
    for path in sorted(folder.glob("predictions*.parquet")):
        sample = pl.read_parquet(path).head(_LOGGED_PREDICTIONS)
        shown[path.stem] = (sample.columns, [list(row) for row in sample.rows()])
    numbers = {name: float(value) for name, value in flat_metrics(metrics).items() if value is not None}
    try:
        for logger in loggers:
            logger.log_hyperparams(config.as_dict())  # also for a run that trained nothing
        log_results(loggers, numbers, shown)
    finally:
        close(loggers)


def _valid(collaborative: Collaborative | None, method: Method | None) -> dict[str, float] | None:
    if method is None:
        return dict(collaborative.best) if collaborative else None
    if method.training.get("best_valid") is None:
        return None
    name = str(method.training["monitor"]).removeprefix("valid/")
    return {name: method.training["best_valid"], "step": method.training["best_step"]}
