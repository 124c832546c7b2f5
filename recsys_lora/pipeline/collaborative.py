"""Stage 2: the collaborative encoder is fitted once for its settings and data, and frozen."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recsys_lora.cf.encoder import Catalogue, CollaborativeEncoder
from recsys_lora.cf.fit import fit_encoder, load_encoder, read_description, save_encoder, score_rows
from recsys_lora.config.edge import build
from recsys_lora.config.record import RunConfig
from recsys_lora.data.history import UserItems
from recsys_lora.data.prepared import PreparedData
from recsys_lora.pipeline.artifacts import ArtifactStore


@dataclass(frozen=True)
class Collaborative:
    """A fitted encoder.

    Attributes:
        name: of its config, for tables.
        folder: its artifact.
        key: of that.
        encoder: frozen, in evaluation mode.
        best: the validation record of the chosen weights.
    """

    name: str
    folder: Path
    key: str
    encoder: CollaborativeEncoder
    best: dict[str, float]

    def score(self, data: PreparedData, rows: UserItems) -> NDArray[np.float64]:
        """Return the encoder's own logits (n,) of users and items."""
        return score_rows(self.encoder, rows, data.history)


def cf_stage(
    config: RunConfig, store: ArtifactStore, data: PreparedData, place: torch.device, log_dir: Path | None
) -> Collaborative:
    """Return the encoder that `cf` describes, fitted on the train rows, from the cache where it is there.

    Args:
        config: the run's.
        store: the cache.
        data: all of it: the encoder is chosen on all validation rows, whatever the method's budget.
        place: where the fitted encoder goes.
        log_dir: where the curve goes when it is fitted now.
    """
    cf, seed = config.cf, config.seed
    factory, fit = build(cf.encoder, "cf.encoder"), build(cf.fit, "cf.fit")
    trainer = build(cf.trainer, "cf.trainer")

    def make(folder: Path) -> None:
        result = fit_encoder(factory, data, fit, trainer, seed, log_dir=log_dir, name=cf.name)
        description = {"best": result.best, "curve": result.curve, "seed": seed, "cf": cf.as_dict()}
        save_encoder(folder, result.encoder, description)

    artifact = store.get("cf", f"{cf.name}-{data.manifest['name']}", cf_depends(config, data.key), make)
    encoder = load_encoder(factory, Catalogue.from_prepared(data), artifact.folder).to(place)
    best = read_description(artifact.folder)["best"]
    return Collaborative(cf.name, artifact.folder, artifact.key, encoder, best)


def cf_depends(config: RunConfig, data: str) -> dict[str, Any]:
    """Return all that a fitted encoder depends on; `data` is the key of the prepared data set."""
    return {"data": data, **config.deciding("cf")}
