"""Whole jobs for tests: a small table of one's own, composed configs, runs in this process."""

import copy
import functools
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from recsys_lora.config.paths import conf_dir

SMALL = (
    "llm=tiny",
    "budget=smoke",
    "data=table",
    "data.train_rows=24",
    "data.valid_rows=24",
    "data.test_rows=40",
    "evaluation.shuffled_rows=16",
    "evaluation.draws=20",
    "trainer.log_every_n_steps=1",
    "cf.trainer.max_epochs=1",
    "cf.encoder.dim=8",
    "model.batch_size=8",
    "model.rank=4",
    "model.generator.query_dim=16",
)
"""CoRA in a few seconds."""
NO_METHOD = tuple(override for override in SMALL if not override.startswith("model."))
"""The same for models without options of their own."""

SMALL_TASKS = (
    "model=ckf",
    "tasks=null",
    "llm=tiny",
    "llm.layers=1",
    "budget=smoke",
    "data=table",
    "data.train_rows=16",
    "data.valid_rows=4",
    "data.test_rows=12",
    "evaluation.shuffled_rows=8",
    "evaluation.draws=10",
    "trainer.log_every_n_steps=1",
    "cf.trainer.max_epochs=1",
    "cf.encoder.dim=8",
    "model.batch_size=8",
    "model.rank=4",
    "model.optimizer.lr=0.01",
)
"""CKF in a few seconds."""


def composed(*overrides: str, run: str | Path = "somewhere", config: str = "config") -> DictConfig:
    """Return the config of a command line, without Hydra's own part.

    Args:
        overrides: as on the command line.
        run: the run's folder.
        config: which command: config for run, prepare for prepare.
    """
    cfg = copy.deepcopy(_composed(overrides, config))
    cfg.paths.run = str(run)
    return cfg


@functools.cache
def _composed(overrides: tuple[str, ...], config: str) -> DictConfig:
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        cfg = compose(config, list(overrides), return_hydra_config=True)
    OmegaConf.set_struct(cfg, False)
    del cfg["hydra"]
    return cfg


def resolved(*overrides: str, config: str = "config") -> dict[str, Any]:
    """Return the config of a command line as plain containers, unchecked."""
    container = OmegaConf.to_container(composed(*overrides, config=config), resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def run(folder: Path, *overrides: str):
    """Run one job in this process; returns its `Outcome`."""
    from recsys_lora.config.edge import read_run
    from recsys_lora.pipeline.job import execute

    folder.mkdir(parents=True, exist_ok=True)
    return execute(read_run(composed(*overrides, run=folder)), folder)


def own_tables(users: int = 20, items: int = 30, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return interactions and items in which people like what has their own parity, mostly.

    Everybody rates everything; everybody's last row is of the last item, which is thus cold: it occurs in test alone.
    """
    generator = np.random.default_rng(seed)
    records = []
    for user in range(users):
        for when, item in enumerate([*generator.permutation(items - 1), items - 1]):
            liked = (user + item) % 2 == 0 if generator.random() < 0.9 else generator.random() < 0.5
            records.append((f"u{user}", f"i{item}", 5.0 if liked else 2.0, 1_000 * user + when))
    interactions = pl.DataFrame(records, ["user_id", "item_id", "rating", "timestamp"], orient="row")
    titles = pl.DataFrame({"item_id": [f"i{i}" for i in range(items)], "title": [f"Thing {i}" for i in range(items)]})
    return interactions, titles


def write_tables(folder: Path, interactions: pl.DataFrame, items: pl.DataFrame | None) -> tuple[str, ...]:
    """Write tables as CSV; returns the overrides that name them."""
    folder.mkdir(parents=True, exist_ok=True)
    interactions.write_csv(folder / "ratings.csv")
    overrides = [f"data.interactions={folder / 'ratings.csv'}"]
    if items is not None:
        items.write_csv(folder / "items.csv")
        overrides.append(f"data.items={folder / 'items.csv'}")
    return tuple(overrides)


def with_reviews(interactions: pl.DataFrame) -> pl.DataFrame:
    """Return the same rows with a review each, which tells the rating, and a summary, which some lack."""
    told = zip(interactions["item_id"], interactions["rating"], strict=True)
    reviews = [f"This {item} is {'just what I like' if rating > 3 else 'a waste of money'}." for item, rating in told]
    summaries = ["" if place % 5 == 0 else review.split(" is ")[1] for place, review in enumerate(reviews)]
    return interactions.with_columns(review=pl.Series(reviews), summary=pl.Series(summaries))


def method_of(metrics, task: str = "ctr") -> dict[str, Any]:
    """Return the method's numbers in a task: rows, each metric, and those of warm and cold questions by name."""
    from recsys_lora.report.table import method_line

    block = metrics["tasks"][task]
    line = method_line(block)
    parts = line["parts"][block["warm_definition"]]
    whole = {name: found["value"] for name, found in line["metrics"].items()}
    named = {part: {name: found["value"] for name, found in parts[part].items()} for part in parts}
    return {"rows": block["rows"], **whole, **named}
