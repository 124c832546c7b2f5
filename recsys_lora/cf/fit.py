"""Fit an encoder, keep the best by validation AUC; save, load and score with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.loggers import CSVLogger
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from recsys_lora.cf.encoder import Catalogue, CollaborativeEncoder, EncoderFactory
from recsys_lora.cf.inference import device_of, evaluating
from recsys_lora.cf.module import CFModule, RowTensors
from recsys_lora.cf.settings import FitSettings, TrainerSettings
from recsys_lora.data.history import History, UserItems
from recsys_lora.data.prepared import PreparedData, Rows
from recsys_lora.utils.console import Advance, progress
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import read_json, write_json

_WEIGHTS = "encoder.safetensors"
_DESCRIPTION = "encoder.json"


@dataclass(frozen=True)
class CFResult:
    """A fitted encoder.

    Attributes:
        encoder: in evaluation mode, on the CPU, frozen, with the weights of the best validation.
        curve: one record per validation, as in `CFModule`.
        best: the record of the chosen weights.
    """

    encoder: CollaborativeEncoder
    curve: list[dict[str, float]]
    best: dict[str, float]


class _KeepBest(Callback):
    """Copies the encoder's weights whenever the validation AUC is the best so far, and updates the progress display."""

    def __init__(self, advance: Advance) -> None:
        self.advance = advance
        self.best: dict[str, float] = {}
        self.weights: dict[str, Tensor] = {}
        self.epochs = 0

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, CFModule)
        latest = pl_module.curve[-1]
        if not self.best or latest["valid_auc"] > self.best["valid_auc"]:
            self.best = latest
            state = pl_module.encoder.state_dict()
            self.weights = {name: value.detach().cpu().clone() for name, value in state.items()}
        done = trainer.current_epoch + 1 - self.epochs
        self.epochs += done
        self.advance(done, f"valid AUC {latest['valid_auc']:.4f}, best {self.best['valid_auc']:.4f}")


@contextmanager
def _random_state(seed: int) -> Iterator[None]:
    """Seed the random draws of the block, and leave the caller's random state as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def fit_encoder(
    factory: EncoderFactory,
    data: PreparedData,
    fit: FitSettings,
    trainer: TrainerSettings,
    seed: int,
    log_dir: Path | None = None,
    name: str = "encoder",
) -> CFResult:
    """Fit an encoder on the train rows; stop early and choose by AUC on all validation rows.

    Args:
        factory: makes the untrained encoder from a catalogue.
        data: a prepared data set.
        fit: objective and optimiser.
        trainer: length and device of the fit.
        seed: decides initial weights, dropout, sampled items and the order of rows.
        log_dir: where `cf/metrics.csv` goes; None for nowhere.
        name: the encoder's name in the progress display.

    Raises:
        UserError: train or validation rows lack a class, or the loss is no longer finite.
    """
    for split in ("train", "valid"):
        _require_both_classes(data.rows(split), split)
    with _random_state(seed):
        catalogue = Catalogue.from_prepared(data)
        encoder = factory(catalogue)
        train = RowTensors(data.rows("train"), data.history, encoder.fit_history_length)
        valid = RowTensors(data.rows("valid"), data.history, encoder.history_length)
        module = CFModule(encoder, catalogue, train, valid, fit, seed)
        with progress(f"fit {name}", trainer.max_epochs, "epochs") as advance:
            keep = _KeepBest(advance)
            lightning_trainer = _lightning_trainer(trainer, keep, log_dir)
            lightning_trainer.fit(module)
            if not keep.best:  # a limit ended the fit before its first validation
                lightning_trainer.validate(module, verbose=False)
    encoder.load_state_dict(keep.weights)  # on the CPU, where Lightning leaves a trained module
    return CFResult(encoder.eval().requires_grad_(False), module.curve, keep.best)


def _require_both_classes(rows: Rows, split: str) -> None:
    labels = np.unique(rows.label)
    if len(labels) < 2:
        raise UserError(
            f"data: the {len(rows)} {split} rows hold {len(labels)} of the two classes, so nothing can be learned or "
            f"measured: check data.positive and data.split"
        )


def _lightning_trainer(settings: TrainerSettings, keep: _KeepBest, log_dir: Path | None) -> lightning.Trainer:
    stopping = EarlyStopping("valid_auc", mode="max", patience=settings.patience, check_on_train_epoch_end=False)
    return lightning.Trainer(
        max_epochs=settings.max_epochs,
        max_steps=settings.max_steps or -1,
        accelerator=settings.accelerator,
        devices=1,
        limit_train_batches=settings.limit_train_batches,
        val_check_interval=settings.val_check_interval,
        check_val_every_n_epoch=settings.check_val_every_n_epoch,
        gradient_clip_val=settings.gradient_clip_val,
        num_sanity_val_steps=0,
        callbacks=[keep, stopping],
        logger=CSVLogger(log_dir, name="cf", version="") if log_dir else False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )


def save_encoder(folder: Path, encoder: CollaborativeEncoder, description: dict[str, Any]) -> None:
    """Write an encoder's weights and a JSON description (its key, settings, metrics) into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in encoder.state_dict().items()}, folder / _WEIGHTS)
    write_json(folder / _DESCRIPTION, description)


def read_description(folder: Path) -> dict[str, Any]:
    """Return the description that `save_encoder` wrote."""
    description: dict[str, Any] = read_json(folder / _DESCRIPTION)
    return description


def load_encoder(factory: EncoderFactory, catalogue: Catalogue, folder: Path) -> CollaborativeEncoder:
    """Return a saved encoder, frozen and in evaluation mode, on the CPU.

    Raises:
        UserError: the weights are missing or damaged, not numbers, or belong to another encoder, width or data set.
    """
    path = folder / _WEIGHTS
    if not path.exists():
        raise UserError(f"{path}: no saved encoder: fit it first (stage.force=[cf])")
    with _random_state(0):
        encoder = factory(catalogue)
    try:
        state = load_file(path)
        if broken := [name for name, value in state.items() if not torch.isfinite(value).all()]:
            raise UserError(f"{path}: {broken[0]} holds values that are not finite: refit with stage.force=[cf]")
        encoder.load_state_dict(state)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not an encoder ({error}): refit with stage.force=[cf]") from error
    except RuntimeError as error:
        what = " ".join(str(error).split())
        raise UserError(
            f"{path}: saved by another encoder or for other data ({what}): refit with stage.force=[cf]"
        ) from error
    return encoder.eval().requires_grad_(False)


@torch.no_grad()
def score_rows(
    encoder: CollaborativeEncoder, rows: UserItems, history: History, batch_size: int = 8192
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the encoder's logits (n,) of `rows`, in their order; its device and mode stay the same."""
    device, parts = device_of(encoder), []
    with evaluating(encoder):
        for start in range(0, len(rows.user), batch_size):
            part = slice(start, start + batch_size)
            read = history.last(rows.user[part], rows.position[part], encoder.history_length)  # (b, L)
            columns = (rows.user[part], read, rows.item[part])
            user, earlier, item = (torch.from_numpy(np.ascontiguousarray(one)).to(device).long() for one in columns)
            parts.append(encoder.score(user, earlier, item).double().cpu().numpy())
    return np.concatenate(parts) if parts else np.zeros(0)
