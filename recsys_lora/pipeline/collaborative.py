"""Stage 2: fit the collaborative encoder, once per settings and data set, and freeze it."""

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
        name: its config's name, for tables.
        folder: its artifact's folder.
        key: its artifact's key, and the first fit's if there is one.
        encoder: frozen, in evaluation mode.
        best: the validation record of the chosen weights.
        first: the fit on the earliest train rows, whose vectors methods train on; None: they use `encoder`'s.
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
        """Return the encoder's own logits (n,) for pairs of a user and an item."""
        return score_rows(self.encoder, rows, data.history)


def cf_stage(
    config: RunConfig, store: ArtifactStore, data: PreparedData, place: torch.device, log_dir: Path | None
) -> Collaborative:
    """Return the encoder that `cf` describes, fitted on the train rows or taken from the cache.

    If `cf.train_share` is below 1, a second encoder is fitted on that share, with the same seed.

    Args:
        config: the run's.
        store: the cache.
        data: the whole data set: the encoder is selected on all validation rows, whatever the method's budget.
        place: device of the fitted encoder.
        log_dir: folder for the training curve if the encoder is fitted now.
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
    """Return the key of the encoder that `cf` describes, including its first fit's; `data` is the data set's key."""
    shares = dict.fromkeys((1.0, config.cf.train_share))
    own = [replace(config, cf=replace(config.cf, train_share=share)) for share in shares]
    return "-".join(ArtifactStore.key("cf", cf_depends(config, data)) for config in own)


def method_data(config: RunConfig, data: PreparedData) -> PreparedData:
    """Return the data set with the train rows for a method with an encoder: those that the first fit has not seen.

    With a single fit, these are all train rows; its vectors then know their labels better than those of later rows.
    """
    share = config.cf.train_share
    return data if share == 1 else data.with_train_part(share, "rest")


def cf_depends(config: RunConfig, data: str) -> dict[str, Any]:
    """Return everything a fitted encoder depends on; `data` is the key of the prepared data set."""
    return {"data": data, **config.deciding("cf")}
