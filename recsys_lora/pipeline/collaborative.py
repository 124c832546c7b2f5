"""Stage 2: the collaborative encoder is fitted once for its settings and data, and frozen."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recsys_lora.cf.encoder import Catalogue, CollaborativeEncoder
from recsys_lora.cf.fit import fit_encoder, load_encoder, read_description, save_encoder, score_rows
from recsys_lora.cf.two_fits import TwoFits
from recsys_lora.config.edge import build
from recsys_lora.config.record import RunConfig
from recsys_lora.data.history import UserItems
from recsys_lora.data.prepared import PreparedData
from recsys_lora.pipeline.artifacts import Artifact, ArtifactStore


@dataclass(frozen=True)
class Collaborative:
    """A fitted encoder.

    Attributes:
        name: of its config, for tables.
        folder: its artifact.
        key: of its artifact, and of that of the first fit.
        encoder: frozen, in evaluation mode.
        best: the validation record of the chosen weights.
        first: the fit on the earliest train rows alone, whose vectors methods train on; None for those of `encoder`.
    """

    name: str
    folder: Path
    key: str
    encoder: CollaborativeEncoder
    best: dict[str, float]
    first: CollaborativeEncoder | None = None

    def for_method(self) -> CollaborativeEncoder:
        """Return the encoder that a method reads."""
        return self.encoder if self.first is None else TwoFits(self.first, self.encoder)

    def score(self, data: PreparedData, rows: UserItems) -> NDArray[np.float64]:
        """Return the encoder's own logits (n,) of users and items."""
        return score_rows(self.encoder, rows, data.history)


def cf_stage(
    config: RunConfig, store: ArtifactStore, data: PreparedData, place: torch.device, log_dir: Path | None
) -> Collaborative:
    """Return the encoder that `cf` describes, fitted on the train rows, from the cache where it is there.

    Where `cf.train_share` is below 1, another is fitted on that share, from the same random numbers.

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

    def fitted(share: float) -> tuple[CollaborativeEncoder, Artifact]:
        own = replace(config, cf=replace(cf, train_share=share))
        rows = data if share == 1 else data.with_train_part(share, "earliest")

        def make(folder: Path) -> None:
            logs = log_dir if share == 1 or log_dir is None else log_dir / "earliest"
            result = fit_encoder(factory, rows, fit, trainer, seed, log_dir=logs, name=cf.name)
            description = {"best": result.best, "curve": result.curve, "seed": seed, "cf": own.cf.as_dict()}
            save_encoder(folder, result.encoder, description)

        artifact = store.get("cf", f"{cf.name}-{data.manifest['name']}", cf_depends(own, data.key), make)
        return load_encoder(factory, Catalogue.from_prepared(rows), artifact.folder).to(place), artifact

    encoder, artifact = fitted(1.0)
    key, best = cf_key(config, data.key), read_description(artifact.folder)["best"]
    if cf.train_share == 1:
        return Collaborative(cf.name, artifact.folder, key, encoder, best)
    first, _ = fitted(cf.train_share)
    return Collaborative(cf.name, artifact.folder, key, encoder, best, first)


def cf_key(config: RunConfig, data: str) -> str:
    """Return the key of the encoder that `cf` describes, and of its first fit; `data` is that of the data set."""
    shares = dict.fromkeys((1.0, config.cf.train_share))
    own = [replace(config, cf=replace(config.cf, train_share=share)) for share in shares]
    return "-".join(ArtifactStore.key("cf", cf_depends(config, data)) for config in own)


def method_data(config: RunConfig, data: PreparedData) -> PreparedData:
    """Return the data set with the train rows of a method that has an encoder: those that the first fit has not seen.

    Where there is one fit, they are all train rows, whose labels its vectors then know better than any later one's.
    """
    share = config.cf.train_share
    return data if share == 1 else data.with_train_part(share, "rest")


def cf_depends(config: RunConfig, data: str) -> dict[str, Any]:
    """Return all that a fitted encoder depends on; `data` is the key of the prepared data set."""
    return {"data": data, **config.deciding("cf")}
