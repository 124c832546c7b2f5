"""Stage 3: train the method on its budget of rows, or take it from the cache; stage 4 scores with it."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning
import torch
from hydra.utils import get_object
from torch import Tensor

from recsys_lora.callbacks.checkpoint import BEST, LAST
from recsys_lora.cf.encoder import Catalogue, CollaborativeEncoder
from recsys_lora.config.edge import build
from recsys_lora.config.record import RunConfig
from recsys_lora.data.prepared import PreparedData
from recsys_lora.llm.backbone import Backbone
from recsys_lora.methods.base import LLMRecommender
from recsys_lora.methods.checkpoint import IDENTITY, load_checkpoint, read_checkpoint, start_from, trained_state
from recsys_lora.pipeline.artifacts import ArtifactStore
from recsys_lora.pipeline.assembly import assemble
from recsys_lora.pipeline.collaborative import Collaborative, cf_key
from recsys_lora.pipeline.trainer import resume_checkpoint, train
from recsys_lora.tasks.module import TaskData
from recsys_lora.tasks.task import Task
from recsys_lora.utils.errors import UserError, first_stage
from recsys_lora.utils.files import file_sha256, read_json, write_bytes, write_json

_WEIGHTS, _RECORD = "trained.ckpt", "training.json"
_UNTRAINED = "train=false: the cache holds no trained method of these settings: give ckpt_path=FILE or leave train=true"


@dataclass(frozen=True)
class Method:
    """A method that is ready to score.

    Attributes:
        module: with its trained weights, on the backbone's device.
        datamodule: makes its prompts.
        key: its artifact's; if nothing is trained, the key of what it depends on.
        training: the record of its training; empty if there was none.
        weights: the file of its trained weights; None if there are none.
    """

    module: LLMRecommender
    datamodule: TaskData
    key: str
    training: dict[str, Any]
    weights: Path | None = None


@dataclass(frozen=True)
class _FirstStage:
    """The result of a first stage: the key of its artifact, and its parameters by name."""

    key: str
    state: dict[str, Tensor]


@dataclass(frozen=True)
class MethodStage:
    """The method stage of a run.

    Attributes:
        config: the run's.
        store: the cache.
        data: the prepared data set.
        tasks: the run's tasks, by name.
        collaborative: the fitted encoder, if the method needs one.
        backbone: the language model; the method may inject layers into it.
        run_folder: folder for checkpoints and curves.
    """

    config: RunConfig
    store: ArtifactStore
    data: PreparedData
    tasks: Mapping[str, Task]
    collaborative: Collaborative | None
    backbone: Backbone
    run_folder: Path

    def run(self) -> Method:
        """Return the trained method that `model` describes.

        Raises:
            UserError: a checkpoint belongs to something else, or `train=false` and there is none to load.
        """
        config, store = self.config, self.store
        module, datamodule, depends = self._started()
        key = store.key("method", depends)
        if not module.trains:
            return Method(module, datamodule, key, {})
        given = Path(config.ckpt_path) if config.ckpt_path else None
        if given is not None and not config.train:
            load_checkpoint(given, module, module.identity)
            return Method(module, datamodule, key, {}, given)
        artifact = store.get(
            "method",
            _label(module, self.data),
            depends,
            lambda folder: self._make(folder, module, datamodule, key),
            together=True,
        )
        weights = artifact.folder / _WEIGHTS
        load_checkpoint(weights, module, module.identity)
        training = read_json(artifact.folder / _RECORD) | {"reused": artifact.reused}
        return Method(module, datamodule, artifact.key, training, weights)

    def untrained(self) -> Method:
        """Return the method before its first step; a first stage is trained, or taken from the cache."""
        module, datamodule, depends = self._started()
        return Method(module, datamodule, self.store.key("method", depends), {})

    def _started(self) -> tuple[LLMRecommender, TaskData, dict[str, Any]]:
        """Return the method before its first step, its data module, and everything the trained method depends on."""
        config, first = self.config, None
        if config.first and (config.train or not config.ckpt_path):  # a checkpoint includes the first stage's part
            first = self._first_stage(config.first)
        lightning.seed_everything(config.seed, workers=True, verbose=False)
        module, datamodule = assemble(config, self.data, self.tasks, self.collaborative, self.backbone)
        if first:
            start_from(module, first.state, module.name)
        dtype = str(module.backbone.dtype)
        return module, datamodule, method_depends(config, module.identity, dtype, first.key if first else None)

    def _make(self, folder: Path, module: LLMRecommender, datamodule: TaskData, key: str) -> None:
        config, checkpoints = self.config, self.run_folder / "checkpoints"
        if not config.train:
            raise UserError(_UNTRAINED)
        start = resume_checkpoint(checkpoints, key, self.store.processes) or config.ckpt_path
        record = train(config, module, datamodule, self.run_folder, key, start)
        if not record["steps"]:
            raise UserError("training took no step: give trainer.max_epochs, max_steps and max_time more")
        if self.store.processes.is_rank_zero:
            _keep(checkpoints / (LAST if record["best_step"] is None else BEST), folder / _WEIGHTS)
            write_json(folder / _RECORD, record)

    def _first_stage(self, model: Mapping[str, Any]) -> _FirstStage:
        """Return the first stage, trained and cached as in a run of its own; the backbone is left unchanged."""
        folder = self.run_folder / "first"
        config = replace(self.config, model=model, first=None, ckpt_path=None).at(str(folder))
        encoder = self.collaborative if get_object(model["_target_"]).needs_encoder else None
        with first_stage(model):
            method = replace(self, config=config, collaborative=encoder, run_folder=folder).run()
        trained = {name for name, _ in method.module.named_parameters()}
        state = {name: value.cpu().clone() for name, value in trained_state(method.module).items() if name in trained}
        method.module.release()
        return _FirstStage(method.key, state)


def method_key(
    config: RunConfig, store: ArtifactStore, data: PreparedData, module: LLMRecommender, first: str | None = None
) -> str:
    """Check the checkpoint or artifact that a method starts from, and return its key after a stage of key `first`.

    Raises:
        UserError: a checkpoint belongs to something else or holds too little to resume from, or `train=false` and
            there is nothing to load.
    """
    depends = method_depends(config, module.identity, str(module.backbone.dtype), first)
    if module.trains and config.ckpt_path:
        content = read_checkpoint(Path(config.ckpt_path), module, module.identity)
        if config.train and "optimizer_states" not in content:
            raise UserError(
                f"{config.ckpt_path}: holds weights alone: go on from a run's last.ckpt, or test these with train=false"
            )
    elif module.trains and not config.train and not store.holds("method", _label(module, data), depends):
        raise UserError(_UNTRAINED)
    return store.key("method", depends)


def _label(module: LLMRecommender, data: PreparedData) -> str:
    return f"{module.name}-{data.manifest['name']}"


def method_depends(
    config: RunConfig, identity: Mapping[str, Any], dtype: str, first: str | None = None
) -> dict[str, Any]:
    """Return everything a trained method depends on, after a stage of key `first`."""
    path = Path(config.ckpt_path) if config.ckpt_path else None
    checkpoint = file_sha256(path) if path and path.is_file() else None
    return {**config.deciding("method"), "identity": identity, "dtype": dtype, "first": first, "checkpoint": checkpoint}


def _keep(source: Path, target: Path) -> None:
    """Save a checkpoint's weights, without the optimiser's state, where other runs find them."""
    checkpoint = torch.load(source, map_location="cpu", weights_only=True)
    content = io.BytesIO()  # torch does not report a full disk when it writes a file itself
    torch.save({name: checkpoint[name] for name in ("state_dict", IDENTITY)}, content)
    write_bytes(target, content.getbuffer())


def check_assembly(
    config: RunConfig, store: ArtifactStore, data: PreparedData, tasks: Mapping[str, Task], backbone: Backbone
) -> None:
    """Build the method and its first stage with an unfitted encoder, then remove them from the backbone.

    Raises:
        UserError: the options do not fit the backbone, the encoder, the data, a checkpoint or each other, or
            `train=false` finds nothing trained.
    """
    with torch.random.fork_rng([backbone.device] if backbone.device.type == "cuda" else []):
        learned, first = {}, None
        if config.first:
            with first_stage(config.first):
                own = replace(config, model=config.first, first=None, ckpt_path=None)
                module = _unfitted(own, data, tasks, backbone)
                if config.train or not config.ckpt_path:  # a checkpoint includes the first stage's part
                    first = method_key(own, store, data, module)
            module.release()
            learned = {name: value.detach() for name, value in module.named_parameters() if value.requires_grad}
        module = _unfitted(config, data, tasks, backbone)
        method_key(config, store, data, module, first)
        module.release()
        start_from(module, learned, module.name)


def _unfitted(config: RunConfig, data: PreparedData, tasks: Mapping[str, Task], backbone: Backbone) -> LLMRecommender:
    collaborative = None
    if get_object(config.model["_target_"]).needs_encoder:
        factory = build(config.cf.encoder, "cf.encoder")
        encoder: CollaborativeEncoder = factory(Catalogue.from_prepared(data)).to(backbone.device).eval()
        first = None if config.cf.train_share == 1 else encoder
        collaborative = Collaborative(config.cf.name, Path(), cf_key(config, data.key), encoder, {}, first)
    module, _ = assemble(config, data, tasks, collaborative, backbone)
    return module
