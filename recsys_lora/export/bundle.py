"""A run in one folder that `recsys_lora.load` can load anywhere: config, prepared tables, encoder, trained weights."""

import shutil
from dataclasses import asdict, replace
from pathlib import Path

from recsys_lora.methods.checkpoint import SAFE, open_checkpoint, write_safe
from recsys_lora.pipeline.artifact_paths import CONFIG_FILE, FILE, STORE
from recsys_lora.pipeline.artifacts import RECORD, seal
from recsys_lora.pipeline.loading import Loaded, store_of
from recsys_lora.utils.files import write_json
from recsys_lora.utils.version import __version__

BESIDE = ("environment.json", "metrics.json", "table.md")
"""Files of a run's folder that a bundle includes if they exist."""


def write_bundle(run: Loaded, folder: Path) -> None:
    """Write a bundle. The backbone is not in it; the config names it.

    Each part has a record with the SHA-256 of its files, which loading verifies. Weights are safetensors, and loading
    accepts only configs that name code of this package, unless told whom else to trust.

    Raises:
        UserError: a part of the run is missing.
    """
    store, made = store_of(run.folder), run.made
    weights = None if run.method is None else run.method.weights
    for place in filter(None, (made.prepare, made.cf)):
        shutil.copytree(store.find(place), folder / STORE / place)
    kept = None
    if weights is not None:
        kept = f"method/{_name(weights)}/{weights.stem}{SAFE}"
        inside = (folder / STORE / kept).parent
        inside.mkdir(parents=True)
        write_safe(folder / STORE / kept, open_checkpoint(weights))
        seal(inside, {"stage": "method", "key": _name(weights), "version": __version__})
    for name in (CONFIG_FILE, *BESIDE):
        if (run.folder / name).is_file():
            shutil.copy2(run.folder / name, folder / name)
    write_json(folder / FILE, asdict(replace(made, weights=kept)))


def _name(weights: Path) -> str:
    """Return the name of the weights' folder: that of their artifact, or that of the file if it is a checkpoint."""
    return weights.parent.name if (weights.parent / RECORD).is_file() else weights.stem
