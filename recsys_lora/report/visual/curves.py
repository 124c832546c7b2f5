"""Training curves, as the CSV logger wrote them into a run's folder, and their figures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from recsys_lora.report.table import shown
from recsys_lora.report.visual.figures import Curve, curves

_POINTS = 300
"""Maximum points of a curve."""
_METHOD, _ENCODER = Path("metrics.csv"), Path("cf") / "metrics.csv"
_STEPS, _EPOCHS = "optimiser steps", "epochs"


def _read_curve(path: Path, x: str, y: str) -> tuple[list[float], list[float]]:
    """Return two columns of a file as x and y, without missing values; empty if the file or a column is missing."""
    if not path.is_file():
        return [], []
    table = pl.read_csv(path, infer_schema_length=None)
    if x not in table.columns or y not in table.columns:
        return [], []
    pairs = table.select(pl.col(x, y).cast(pl.Float64, strict=False)).drop_nulls()
    pairs = pairs.filter(pl.all_horizontal(pl.all().is_finite()))
    places = np.unique(np.linspace(0, max(0, len(pairs) - 1), min(_POINTS, len(pairs))).astype(int))
    return pairs[x].gather(places).to_list(), pairs[y].gather(places).to_list()


def columns(path: Path) -> list[str]:
    """Return the columns of a file; none if it does not exist."""
    return pl.read_csv(path, n_rows=0).columns if path.is_file() else []


def of_run(folder: Path) -> list[str]:
    """Return the figures of one run: losses, validation, loss by task, learning rate; then its CF model's fit."""
    names = columns(folder / _METHOD)
    metrics = [name for name in names if name.startswith("valid/") and not name.startswith("valid/loss")]
    tasks = [name for name in names if name.startswith("train/loss_")]
    made = [
        _figure(folder, _METHOD, "Loss", _STEPS, "loss", ["train/loss", "valid/loss"]),
        _figure(folder, _METHOD, "Validation", _STEPS, "metric", metrics),
        _figure(folder, _METHOD, "Training loss by task", _STEPS, "loss", tasks),
        _figure(folder, _METHOD, "Learning rate", _STEPS, "learning rate", ["train/lr"]),
        _figure(folder, _ENCODER, "CF model: loss", _EPOCHS, "loss", ["train_loss"]),
        _figure(folder, _ENCODER, "CF model: validation", _EPOCHS, "metric", ["valid_auc", "valid_uauc"]),
    ]
    return [one for one in made if one]


def of_runs(runs: Sequence[tuple[str, int, Path]]) -> list[str]:
    """Return figures of the training loss and of each validation metric that any of several runs has logged.

    Args:
        runs: name, style and folder of each run.
    """
    every = dict.fromkeys(name for _, _, folder in runs for name in columns(folder / _METHOD))
    kept = ["train/loss", *(name for name in every if name.startswith("valid/") and not name.startswith("valid/loss_"))]
    made = []
    for column in kept:
        series = [Curve(name, style, *_read_curve(folder / _METHOD, "step", column)) for name, style, folder in runs]
        made.append(curves(_title(column), _STEPS, _title(column), series))
    return made


def _figure(folder: Path, file: Path, title: str, x: str, y: str, names: Sequence[str]) -> str:
    at = "epoch" if x == _EPOCHS else "step"
    series = [Curve(_title(name), style, *_read_curve(folder / file, at, name)) for style, name in enumerate(names)]
    return curves(title, x, y, series)


def _title(column: str) -> str:
    """Return the title of a column: `valid AUC` for `valid/auc`."""
    part, joint, name = column.partition("/") if "/" in column else column.partition("_")
    return f"{part} {shown(name)}" if joint else column
