"""The parts of a finished run, rebuilt from its artifacts: no raw data are read, nothing is trained or written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_object
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recsys_lora.cf.encoder import Catalogue
from recsys_lora.cf.fit import load_encoder, read_description
from recsys_lora.config.edge import build, recorded_run
from recsys_lora.config.record import RunConfig
from recsys_lora.config.recorded import merged, read_recorded
from recsys_lora.config.roles import Kind
from recsys_lora.config.trust import check_targets
from recsys_lora.data.prepared import PreparedData
from recsys_lora.methods.checkpoint import load_checkpoint
from recsys_lora.pipeline.artifact_paths import CONFIG_FILE, FILE, ArtifactPaths, artifacts_root, read_artifact_paths
from recsys_lora.pipeline.artifacts import ArtifactStore
from recsys_lora.pipeline.assembly import assemble, load_backbone
from recsys_lora.pipeline.collaborative import Collaborative
from recsys_lora.pipeline.devices import suited
from recsys_lora.pipeline.logging_setup import quiet_libraries
from recsys_lora.pipeline.method import Method
from recsys_lora.pipeline.tasks import choose_tasks
from recsys_lora.tasks.task import Task
from recsys_lora.utils.errors import UserError

_CHANGEABLE = (Kind.SOURCE, Kind.COST)
"""Kinds of values that may differ from the run's: where input is, and what changes only memory or time."""


@dataclass(frozen=True)
class Loaded:
    """A finished run, ready to answer.

    Attributes:
        folder: the run's or the bundle's.
        config: the run's, for one device.
        made: the paths of its artifacts.
        data: the data it was trained on.
        tasks: its tasks, by name.
        collaborative: the fitted encoder; None if the run has none.
        method: the trained method; None if the run has only a CF model.
    """

    folder: Path
    config: RunConfig
    made: ArtifactPaths
    data: PreparedData
    tasks: Mapping[str, Task]
    collaborative: Collaborative | None
    method: Method | None


def load_run(folder: Path, device: str = "auto", overrides: Sequence[str] = (), trust: Sequence[str] = ()) -> Loaded:
    """Load a finished run, or a bundle.

    Args:
        folder: its folder.
        device: auto, cpu, cuda or cuda:N; auto is a CUDA device if there is one.
        overrides: as on the command line, for values that change no result, such as `llm.path=FOLDER`.
        trust: packages, besides this one, whose code the config may name.

    Raises:
        UserError: it is not a finished run, a part or the device is missing, or its config names untrusted code.
    """
    quiet_libraries()
    made, place = read_artifact_paths(folder), _chosen_device(device)
    config = suited(_on_one_device(_read(folder, overrides, trust), place), place)
    store = store_of(folder)
    data = PreparedData.load(store.find(made.prepare), config.data.titles)
    kind = get_object(config.model["_target_"])
    _refuse_incomplete(folder, made, kind)
    tasks = choose_tasks(config, data)
    config = replace(config, tasks=list(tasks), task={name: config.task[name] for name in tasks})
    collaborative = None
    if made.cf is not None and made.cf_key is not None:
        collaborative = _encoder(config, data, store.find(made.cf), made.cf_key, place)
    method = None
    if kind.needs_backbone:
        weights = None if made.weights is None else _weights(store, made.weights)
        with torch.random.fork_rng():  # initial weights are drawn at random, then replaced
            module, datamodule = assemble(config, data, tasks, collaborative, load_backbone(config, data, place))
        if weights is not None:
            load_checkpoint(weights, module, module.identity)
        key = "untrained" if weights is None else weights.parent.name
        method = Method(module.eval(), datamodule, key, {}, weights)
    return Loaded(folder, config, made, data, tasks, collaborative, method)


def _refuse_incomplete(folder: Path, made: ArtifactPaths, kind: Any) -> None:
    """Refuse a record that lacks a part of the run's model, which would be initialised at random."""
    wanted = {"cf": kind.needs_encoder, "cf_key": kind.needs_encoder, "weights": kind.needs_backbone and kind.trains}
    if missing := [name for name, needed in wanted.items() if needed and getattr(made, name) is None]:
        raise UserError(f"{folder / FILE}: names no {missing[0]}, which {kind.__name__} has: run it again")


def store_of(folder: Path) -> ArtifactStore:
    """Return the artifact store of a run or a bundle; for a bundle, compared contents are not recorded."""
    root = artifacts_root(folder)
    return ArtifactStore(root, remember=root.parent != folder)


def _chosen_device(name: str) -> torch.device:
    """Return a device by name, after checking that it exists; auto: a CUDA device if there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device={name}: no device: choose auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device={name}: nothing runs there: choose auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device={name}: PyTorch finds {torch.cuda.device_count()} CUDA devices: choose cpu")
    return device


def _read(folder: Path, overrides: Sequence[str], trust: Sequence[str]) -> RunConfig:
    path = folder / CONFIG_FILE
    for override in overrides:
        key, equals, _ = override.partition("=")
        if not equals or RunConfig.role_of(key).kind not in _CHANGEABLE:
            raise UserError(
                f"{override}: a loaded run takes overrides of what changes no result, as llm.path=FOLDER or "
                "evaluation.token_budget=N"
            )
    try:
        changes = OmegaConf.to_container(OmegaConf.from_dotlist(list(overrides)), resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(f"{' '.join(overrides)}: {str(error).splitlines()[0]}") from error
    assert isinstance(changes, dict)
    config = merged(read_recorded(path), {str(key): value for key, value in changes.items()})
    check_targets(config, trust)
    return recorded_run(config)


def _on_one_device(config: RunConfig, place: torch.device) -> RunConfig:
    """Return the run's config for one device, without compiled blocks, whatever it was trained on."""
    accelerator = "gpu" if place.type == "cuda" else "cpu"
    trainer = {**config.trainer, "accelerator": accelerator, "devices": 1, "num_nodes": 1, "strategy": "auto"}
    llm = {**config.llm, **({"compiled": False} if "compiled" in config.llm else {})}
    return replace(config, trainer=trainer, llm=llm)


def _encoder(config: RunConfig, data: PreparedData, folder: Path, key: str, place: torch.device) -> Collaborative:
    factory = build(config.cf.encoder, "cf.encoder")
    encoder = load_encoder(factory, Catalogue.from_prepared(data), folder).to(place)
    return Collaborative(config.cf.name, folder, key, encoder, read_description(folder)["best"])


def _weights(store: ArtifactStore, place: str) -> Path:
    path = Path(place)
    return path if path.is_absolute() else store.find(path.parent.as_posix()) / path.name
