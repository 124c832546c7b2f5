"""Run folders of made-up predictions, as a comparison reads them."""

import copy
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf

from recsys_lora.report.metrics_json import write_metrics
from recsys_lora.tasks.lines import file_name as lines_file
from recsys_lora.tasks.lines import write_lines
from recsys_lora.tasks.predictions import file_name, warm_flags, write_predictions
from recsys_lora.tasks.record import Answered, task_record
from recsys_lora.utils.files import write_json, write_text
from tests.jobs import resolved
from tests.report.examples import SCORING, TRAINING
from tests.tasks import examples, world

DATA = world.many(users=30)
QUESTIONS = examples.questions_of(DATA, 600)
"""What every run is tested on, by task."""


SCALE = {"low": 1.0, "high": 5.0, "step": 1.0}
CONFIG = {
    "name": "a run",
    "tags": [],
    "seed": 1,
    "paths": {"runs": "runs", "run": "somewhere"},
    "data": {"name": "ml_1m", "root": "/data/ml-1m", "train_rows": 320, "rating_scale": SCALE},
    "task": {name: node for name, node in resolved()["task"].items() if name != "review_rating"},
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
    scored=None,
    asked=None,
    tasks: tuple[str, ...] = ("ctr",),
    overrides: tuple[str, ...] = ("data=ml_1m", "data.root=/home/me/ml-1m"),
    llm: str | None = "tiny",
    cost: bool = True,
    floor: bool = False,
    popularity=None,
    **changed: object,
) -> Path:
    """Write the folder of a run.

    Args:
        folder: where.
        model: `model.name`; one that is the encoder's name is that encoder alone.
        cf: `cf.name`.
        seed: of the run, and of made-up scores.
        scored: its scores of `ctr`; made up of the seed by default.
        asked: its questions of `ctr`; the same for all by default.
        tasks: what it was asked.
        overrides: of its command line.
        llm: the backbone's name.
        cost: it knows what training and scoring took.
        floor: its tables of `ctr` and `topk` have a baseline and stacks.
        popularity: scores of that baseline of `ctr`; `POPULARITY` by default.
        changed: config values by dotted keys, dots written as two underscores.
    """
    scored = noisy(seed) if scored is None else scored
    asked = QUESTIONS["ctr"] if asked is None else asked
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
    known = cost and llm is not None
    blocks = {}
    for name in tasks:
        questions = asked if name == "ctr" else QUESTIONS[name]
        output = scored if name == "ctr" else examples.guessed(name, questions, seed)
        write_predictions(folder / file_name(name), DATA, "test", questions, output)
        lines = [Answered(model, "method", output)]
        if floor and examples.TASKS[name].stacked:
            counts = POPULARITY if popularity is None else popularity
            if name != "ctr":
                counts = examples.guessed(name, questions, 99)
            lines += [
                Answered("popularity", "baseline", counts),
                Answered(f"stack without {model}", "stack", counts, made_of={"rows": 50, "weights": {}}),
                Answered(f"stack with {model}", "stack", counts + output, made_of={"rows": 50, "weights": {}}),
            ]
            write_lines(folder / lines_file(name), DATA, questions, lines)
        block = task_record(examples.TASKS[name], questions, lines, warm_flags(DATA, questions), "seen", 0)
        blocks[name] = {**block, "scoring": SCORING if known else None}
    training = TRAINING | {"seconds": 10.0 * seed} if known else None
    write_metrics(folder / "metrics.json", {**run, "tasks": blocks, "training": training})
    return folder


POPULARITY = np.random.default_rng(9).normal(size=len(QUESTIONS["ctr"]))
"""Made-up scores of a model-free baseline."""


def noisy(seed: int, signal: float = 0.7):
    """Return scores of always the same questions, which depend on the seed."""
    label = QUESTIONS["ctr"].label
    return signal * label + np.random.default_rng(seed).normal(size=len(label))


def task_of(config, name):
    """Return a run's task."""
    return examples.TASKS[name]
