"""An epoch of MF, LightGCN and SASRec with the BPR loss, on synthetic data of MovieLens-100K's shape.

    python benchmarks/cf_epoch.py                                   # this package alone
    python benchmarks/cf_epoch.py --recbole-python recbole/bin/python --recbole --json cf_epoch.json

943 users, 1,682 items, 100,000 rows, of which each user's first 80 % are for training; `--data FOLDER` uses a prepared
data set instead (`python -m recsys_lora.prepare data=ml_100k` prints its folder), with every row as a positive. Width
64, batches of 2,048, one sampled negative per positive, Adam; LightGCN with 2 layers, SASRec with 2 blocks over the
last 50 items.

    this package   `recsys_lora.cf.module.CFModule` in Lightning's Trainer, without validation
    RecBole        the same model there (its MF is called BPR), `_train_epoch` of its trainer

RecBole needs an environment of its own:

    python -m venv recbole && recbole/bin/pip install recbole==1.2.1 'numpy<2' 'scipy<1.13' 'setuptools<81' torch

Each side runs alone, in its own process; the first epoch is not counted. It first compares the rows per epoch: RecBole
omits a user's first row in SASRec, as there is no history. Results of training are not compared here. The ratio is the
time over this package's, epoch by epoch; peak memory is the growth of the process in training, with data, model and
libraries already loaded. The clock is always wall time.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import _resident
import _table
import _timing
from _table import Aim, Row
from _timing import OURS

RECBOLE, RUNNER = "RecBole", Path(__file__).with_name("_recbole_epoch.py")
NAMES = {"mf": "BPR", "lightgcn": "LightGCN", "sasrec": "SASRec"}
AIMS = {"mf": Aim(3), "lightgcn": Aim(3), "sasrec": Aim(10)}
DIM, HISTORY, LAYERS, HEADS, RATE = 64, 50, 2, 2, 1e-3
LARGEST_DIFFERENCE = 0.03
"""Relative to the rows of an epoch."""


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = _timing.parser(__doc__, rounds=5)
    parser.add_argument("--models", nargs="+", default=list(NAMES), choices=list(NAMES))
    parser.add_argument("--users", type=int, default=943)
    parser.add_argument("--items", type=int, default=1_682)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=2_048)
    parser.add_argument("--data", type=Path, help="folder of a prepared data set; left out: made up")
    parser.add_argument("--recbole", action="store_true", help="compare with RecBole")
    parser.add_argument("--recbole-python", help="the Python of an environment with RecBole")
    options = parser.parse_args(argv)
    if options.recbole and not options.recbole_python:
        parser.error("--recbole needs --recbole-python PATH")
    return options


def make_data(options: argparse.Namespace) -> Any:
    """Return the rows as a data set whose labels are all 1, each user's in order of time, split 8 : 1 : 1."""
    import numpy as np
    import polars as pl

    from recsys_lora.data.prepared import PreparedData

    if options.data:
        former = PreparedData.load(options.data)
        pairs = former.interactions.sort("user", "timestamp", maintain_order=True).select("user", "item")
        items = former.num_items
    else:
        random, items = np.random.default_rng(0), options.items
        each = np.full(options.users, options.rows // options.users)
        popular = 1 / np.arange(1, items + 1) ** 0.7
        drawn = [random.choice(items, size, replace=False, p=popular / popular.sum()) + 1 for size in each]
        pairs = pl.DataFrame({"user": np.repeat(np.arange(1, options.users + 1), each), "item": np.concatenate(drawn)})
    place = pl.int_range(pl.len()).over("user") / pl.len().over("user")
    table = pairs.with_columns(
        user_id=pl.col("user").cast(pl.String),
        item_id=pl.col("item").cast(pl.String),
        rating=pl.lit(5.0, dtype=pl.Float32),
        label=pl.lit(1, dtype=pl.Int8),
        timestamp=pl.int_range(pl.len()),
        split=pl.when(place < 0.8)
        .then(pl.lit("train"))
        .when(place < 0.9)
        .then(pl.lit("valid"))
        .otherwise(pl.lit("test")),
    )
    numbers = list(range(1, items + 1))
    titles = pl.DataFrame({"item_id": list(map(str, numbers)), "item": numbers, "title": [""] * items})
    return PreparedData(
        Path("nowhere"), {"key": "made up", "name": "made up", "split": {"split": "made up"}}, table, titles
    )


@dataclass(frozen=True)
class Epochs:
    """Cost of one side.

    Attributes:
        milliseconds: time of each counted epoch.
        rows: rows per epoch.
        mib: growth of the process; None if not measured.
        version: version of RecBole; "" for this package.
    """

    milliseconds: list[float]
    rows: int
    mib: float | None
    version: str = ""


def ours(name: str, data: Any, options: argparse.Namespace) -> Epochs:
    """Train with this package."""
    import lightning
    import torch

    from recsys_lora.cf.encoder import Catalogue
    from recsys_lora.cf.lightgcn import LightGCN
    from recsys_lora.cf.mf import MF
    from recsys_lora.cf.module import CFModule, RowTensors
    from recsys_lora.cf.sasrec import SASRec
    from recsys_lora.cf.settings import FitSettings

    class Clock(lightning.Callback):
        """Records the time of every epoch."""

        def __init__(self) -> None:
            self.times: list[float] = []
            self.begun = 0.0

        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            self.begun = time.perf_counter()

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            if options.device.startswith("cuda"):
                torch.cuda.synchronize()
            self.times.append(1000 * (time.perf_counter() - self.begun))

    _timing.use_threads(options)
    torch.manual_seed(0)
    catalogue = Catalogue.from_prepared(data)
    encoder = {
        "mf": lambda: MF(catalogue, dim=DIM, init_std=0.1),
        "lightgcn": lambda: LightGCN(catalogue, dim=DIM, layers=LAYERS),
        "sasrec": lambda: SASRec(catalogue, dim=DIM, history_length=HISTORY, blocks=LAYERS, heads=HEADS),
    }[name]()
    rows = [RowTensors(data.rows(split), data.history, encoder.history_length) for split in ("train", "valid")]
    settings = FitSettings(objective="bpr", lr=RATE, batch_size=options.batch)
    clock = Clock()
    trainer = lightning.Trainer(
        max_epochs=options.rounds + 1,
        accelerator="gpu" if options.device.startswith("cuda") else "cpu",
        devices=1,
        limit_val_batches=0,
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = CFModule(encoder, catalogue, *rows, settings, seed=0)
    mib = _resident.growth_mib(lambda: trainer.fit(module), not options.no_memory)
    return Epochs(clock.times[1:], len(rows[0]), mib)


def recbole_config(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return RecBole's own settings for the same training."""
    return {
        "data_path": str(folder),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "TO", "group_by": "user", "mode": "full"},
        "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1, "alpha": 1.0, "dynamic": False},
        "train_batch_size": options.batch,
        "learning_rate": RATE,
        "embedding_size": DIM,
        "hidden_size": DIM,
        "inner_size": DIM,
        "n_layers": LAYERS,
        "n_heads": HEADS,
        "MAX_ITEM_LIST_LENGTH": HISTORY,
        "loss_type": "BPR",
        "use_gpu": options.device.startswith("cuda"),
        "checkpoint_dir": str(folder),
        "state": "ERROR",
        "show_progress": False,
    }


def theirs(name: str, data: Any, options: argparse.Namespace) -> Epochs:
    """Train with RecBole, in its own process."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "made").mkdir()
        header = {"user_id": "user_id:token", "item_id": "item_id:token", "timestamp": "timestamp:float"}
        table = data.interactions.select(list(header)).rename(header)
        table.write_csv(folder / "made" / "made.inter", separator="\t")
        settings = {"model": NAMES[name], "epochs": options.rounds + 1, "config": recbole_config(folder, options)}
        settings["memory"] = not options.no_memory
        (folder / "settings.json").write_text(json.dumps(settings))
        threads = {"OMP_NUM_THREADS": str(options.threads)} if options.threads else {}
        command = [options.recbole_python, str(RUNNER), str(folder / "settings.json"), str(folder / "result.json")]
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, **threads}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{RECBOLE}, {name}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
        result = json.loads((folder / "result.json").read_text())
    return Epochs([1000 * value for value in result["seconds"][1:]], result["rows"], result["mib"], result["version"])


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Measure and print."""
    options = arguments(argv)
    _timing.use_threads(options)
    data = make_data(options)
    rows, shapes = [], {"users": data.num_users, "items": data.num_items, "rows": len(data.interactions)}
    for name in options.models:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
            sides = {OURS: alone.submit(ours, name, data, options).result()}
        if options.recbole:
            sides[RECBOLE] = theirs(name, data, options)
            shapes["recbole"] = sides[RECBOLE].version
            if abs(sides[RECBOLE].rows / sides[OURS].rows - 1) > LARGEST_DIFFERENCE:
                sys.exit(f"{name}: epochs of {sides[OURS].rows} and {sides[RECBOLE].rows} rows: nothing to compare")
        times = {side: found.milliseconds for side, found in sides.items()}
        found = _timing.compared(times, OURS, {RECBOLE: AIMS[name]}, point=name)
        rows += [replace(row, peak_mib=sides[row.case].mib) for row in found]
    shapes |= {"dim": DIM, "batch": options.batch}
    _table.report(rows, _table.environment(options, ("torch", "lightning"), **shapes), options)
    return rows


if __name__ == "__main__":
    main()
