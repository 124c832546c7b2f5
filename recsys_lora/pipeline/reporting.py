"""The end of a run: every line of the table on the same rows, into the run's folder and onto the screen."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import polars as pl

from recsys_lora.callbacks.loggers import close, log_results
from recsys_lora.evaluation.predictions import write_predictions
from recsys_lora.methods.llm_module import LLMRecommender
from recsys_lora.pipeline.collaborative import Collaborative
from recsys_lora.pipeline.config import Config
from recsys_lora.pipeline.config import build as build_node
from recsys_lora.pipeline.method import Method
from recsys_lora.pipeline.task_testing import TaskTests
from recsys_lora.pipeline.testing import FILE, SHUFFLE_SEED, TestRows
from recsys_lora.report.cost_schema import Training
from recsys_lora.report.flat import flat_metrics, tables
from recsys_lora.report.report import Role, Scored, build, publish, publish_tasks

LOGGED_PREDICTIONS = 100
"""Rows of a sample of predictions."""


def report(
    config: Config,
    folder: Path,
    tests: TestRows,
    collaborative: Collaborative | None,
    method: Method | None,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """Score the test rows with everything the table compares, write the results and print the table.

    Args:
        config: the run's.
        folder: the run's.
        tests: the test rows.
        collaborative: the fitted encoder, where the run has one.
        method: the trained method; None where the encoder is what the run is about.
        seconds: wall time of the stages so far.

    Returns:
        What metrics.json holds.
    """
    training = training_block(method)
    begun = time.monotonic()
    scored = list(_lines(config, tests, collaborative, method))
    seconds = {**seconds, "test": round(time.monotonic() - begun, 2)}
    own = next(line for line in scored if line.role == "method")
    write_predictions(folder / FILE, own.predictions, tests.data.raw_user_ids, tests.data.raw_item_ids)
    settings = config["evaluation"]
    run = {**_run(config, collaborative, method), "training": training, "scoring": tests.scoring}
    record = build(
        run, scored, settings["warm"], settings["draws"], SHUFFLE_SEED, _valid(collaborative, method), seconds
    )
    return publish(record, folder)


def report_tasks(
    config: Config,
    folder: Path,
    tests: TaskTests,
    collaborative: Collaborative | None,
    method: Method,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """Answer the test questions of every task with everything its table compares, write the results, print the tables.

    Returns:
        What metrics.json holds.
    """
    training = training_block(method)
    begun = time.monotonic()
    tasks = tests.records(folder)
    record = {
        **_run(config, collaborative, method),
        "test": None,
        "tasks": tasks,
        "valid": _valid(collaborative, method),
        "training": training,
        "draws": config["evaluation"]["draws"],
        "seconds": {**seconds, "test": round(time.monotonic() - begun, 2)},
    }
    return publish_tasks(record, folder)


def training_block(method: Method | None) -> dict[str, Any] | None:
    """Return what training the method took, as metrics.json has it.

    Returns:
        None for a CF model alone, and for a tested checkpoint, whose training this run knows nothing of.
    """
    if method is None or (method.module.trains and not method.training):
        return None
    if method.training:
        return {name: method.training[name] for name in Training.model_fields}
    nothing = dict.fromkeys(("trained_parameters", "rows", "valid_rows", "steps"), 0)
    return {**nothing, "frozen_parameters": method.module.backbone.size, "seconds": 0.0, "reused": False}


def log_report(config: Config, folder: Path, metrics: Mapping[str, Any]) -> None:
    """Log the final tables, every metric of the method and a sample of its predictions to the run's loggers."""
    loggers = [build_node(node, f"logger.{name}") for name, node in config["logger"].items() if node]
    shown = dict(tables(metrics))
    for path in sorted(folder.glob("predictions*.parquet")):
        sample = pl.read_parquet(path).head(LOGGED_PREDICTIONS)
        shown[path.stem] = (sample.columns, [list(row) for row in sample.rows()])
    numbers = {name: float(value) for name, value in flat_metrics(metrics).items() if value is not None}
    try:
        for logger in loggers:
            logger.log_hyperparams(config)  # also of a run that trained nothing
        log_results(loggers, numbers, shown)
    finally:
        close(loggers)


def _run(config: Config, collaborative: Collaborative | None, method: Method | None) -> dict[str, Any]:
    """Return what the run is."""
    return {
        "name": config["name"],
        "model": config["model"]["name"],
        "data": config["data"]["name"],
        "cf": collaborative.name if collaborative else None,
        "llm": method.module.backbone.label if method else None,
        "seed": config["seed"],
        "tags": config["tags"],
    }


def _lines(
    config: Config, tests: TestRows, collaborative: Collaborative | None, method: Method | None
) -> Iterator[Scored]:
    """Yield the table's lines."""
    yield Scored("item popularity", "popularity", tests.popularity())
    if collaborative is not None:
        role: Role = "cf" if method is not None else "method"
        yield Scored(collaborative.name, role, tests.of(tests.rows, collaborative.score(tests.data, tests.rows)))
    if method is None:
        return
    yield Scored(method.module.name, "method", tests.method(method))
    settings = config["evaluation"]
    if method.module.personal and settings["shuffled_rows"]:
        sample = tests.shuffled_sample()
        name = f"{method.module.name}, users shuffled"
        yield Scored(name, "method_shuffled", tests.shuffled(method, sample), sample=True)
    if method.module.trains and settings["zero_shot"]:
        yield Scored("frozen LLM", "frozen_llm", tests.frozen(cast(LLMRecommender, method.module)))


def _valid(collaborative: Collaborative | None, method: Method | None) -> dict[str, float] | None:
    """Return the best validation of what the run is about."""
    if method is None:
        return dict(collaborative.best) if collaborative else None
    if method.training.get("best_valid") is None:
        return None
    name = str(method.training["monitor"]).removeprefix("valid/")
    return {name: method.training["best_valid"], "step": method.training["best_step"]}
