"""A run's parts, built from its config: the backbone, the untrained method, and the rows it sees."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from hydra.utils import get_object
from torch import distributed

from recsys_lora.cf.encoder import Catalogue, CollaborativeEncoder
from recsys_lora.config.check import signature
from recsys_lora.config.edge import build
from recsys_lora.config.record import RunConfig
from recsys_lora.data.prepared import PreparedData
from recsys_lora.llm.backbone import Backbone
from recsys_lora.llm.dtype import dtype_name, resolve_dtype
from recsys_lora.llm.sharding import shard
from recsys_lora.llm.source import BackboneSource
from recsys_lora.methods.base import LLMRecommender
from recsys_lora.pipeline.collaborative import Collaborative, method_data
from recsys_lora.pipeline.sharded import wants_shards
from recsys_lora.pipeline.tasks import mixing_of
from recsys_lora.tasks.module import TaskData
from recsys_lora.tasks.selection import Limits
from recsys_lora.tasks.task import Task


def check_source(config: RunConfig) -> None:
    """Refuse a missing language model, before anything is read or fitted.

    Raises:
        UserError: the model is missing.
    """
    source: BackboneSource = build(config.llm, "llm")
    source.check()


def load_backbone(config: RunConfig, data: PreparedData, place: torch.device) -> Backbone:
    """Return the frozen language model on this process's device, or sharded over the devices of the job.

    Raises:
        UserError: it cannot be loaded, or cannot be sharded as the trainer asks.
    """
    texts = [title for title in data.titles if title]
    backbone: Backbone
    if not wants_shards(config.trainer):
        backbone = build(config.llm, "llm").load(texts=texts, device=place)
        return backbone
    source = build(config.llm, "llm")
    if isinstance(source, BackboneSource):  # loaded into host memory, but computes on the device
        source.dtype = dtype_name(resolve_dtype(source.dtype, place))
    return shard(source.load(texts=texts, device="cpu"), place, distributed.get_world_size())


def assemble(
    config: RunConfig,
    data: PreparedData,
    tasks: Mapping[str, Task],
    collaborative: Collaborative | None,
    backbone: Backbone,
) -> tuple[LLMRecommender, TaskData]:
    """Return the untrained method, on its backbone's device, and the data module of its run."""
    kind = get_object(config.model["_target_"])
    factory = build(config.model, "model")

    def untrained() -> CollaborativeEncoder:
        encoder: CollaborativeEncoder = build(config.cf.encoder, "cf.encoder")(Catalogue.from_prepared(data))
        return encoder

    parts: dict[str, Any] = {"tasks": tasks, "backbone": backbone, "identity": {"data": data.key}}
    parts["untrained_encoder"] = untrained
    if collaborative is not None:
        parts["encoder"] = collaborative.for_method()
        parts["identity"] |= {"encoder": collaborative.key}
    asked, _ = signature(kind)
    offers: dict[str, Callable[[], Any]] = {
        "catalogue": lambda: Catalogue.from_prepared(data),
        "titles": lambda: data.titles,
    }
    parts |= {name: offer() for name, offer in offers.items() if name in asked}
    module: LLMRecommender = factory(**parts)
    rows = data if collaborative is None else method_data(config, data)
    return module.to(backbone.device), datamodule_of(config, module, rows)


def datamodule_of(config: RunConfig, module: LLMRecommender, data: PreparedData) -> TaskData:
    """Return the data module of a run's questions, for its own data or for grown ones."""
    node = config.data
    return module.datamodule(
        data,
        node.wording,
        seed=config.seed,
        token_budget=config.scoring_tokens,
        limits=Limits(node.train_rows, node.valid_rows, node.test_rows, node.test_users, node.sample_seed),
        mixing=mixing_of(config, module.backbone, len(module.tasks)),
    )
