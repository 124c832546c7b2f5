"""Stage 2: the collaborative encoder is fitted once for its settings and data, and frozen."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from recsys_lora.cf.encoder import Catalogue
from recsys_lora.cf.fit import fit_encoder, load_encoder, read_description, save_encoder, score_rows
from recsys_lora.data.prepared import PreparedData, Rows
from recsys_lora.pipeline.artifacts import ArtifactStore
from recsys_lora.pipeline.config import Config, build


@dataclass(frozen=True)
class Collaborative:
    """A fitted encoder.

    Attributes:
        name: of its config, for tables.
        key: of its artifact.
        encoder: frozen, in evaluation mode.
        best: the validation record of the chosen weights.
    """

    name: str
    key: str
    encoder: nn.Module
    best: dict[str, float]

    def score(self, data: PreparedData, rows: Rows) -> NDArray[np.float64]:
        """Return the encoder's own logits (n,) of rows."""
        return score_rows(self.encoder, rows, data.history)


def cf_stage(
    config: Config, store: ArtifactStore, data: PreparedData, place: torch.device, log_dir: Path | None
) -> Collaborative:
    """Return the encoder that `cf` describes, fitted on the train rows, from the cache where it is there.

    Args:
        config: the run's.
        store: the cache.
        data: all of it: the encoder is chosen on all validation rows, whatever the method's budget.
        place: where the fitted encoder goes.
        log_dir: where the curve goes when it is fitted now.
    """
    node, seed = config["cf"], config["seed"]
    factory, fit, trainer = (build(node[part], f"cf.{part}") for part in ("encoder", "fit", "trainer"))

    def make(folder: Path) -> None:
        result = fit_encoder(factory, data, fit, trainer, seed, log_dir=log_dir, name=node["name"])
        save_encoder(folder, result.encoder, {"best": result.best, "curve": result.curve, "seed": seed, "cf": node})

    depends = {"data": data.key, "cf": node, "seed": seed}
    artifact = store.get("cf", f"{node['name']}-{data.manifest['name']}", depends, make)
    encoder = load_encoder(factory, Catalogue.from_prepared(data), artifact.folder).to(place)
    return Collaborative(node["name"], artifact.key, encoder, read_description(artifact.folder)["best"])
