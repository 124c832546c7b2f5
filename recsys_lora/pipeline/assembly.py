"""A run's parts, built from its config: the backbone, the untrained method, and the rows it sees."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from hydra.utils import get_object
from torch import distributed, nn

from recsys_lora.cf.encoder import Catalogue
from recsys_lora.data.module import PromptData
from recsys_lora.data.prepared import PreparedData
from recsys_lora.llm.backbone import Backbone
from recsys_lora.llm.dtype import dtype_name, resolve_dtype
from recsys_lora.llm.sharding import shard
from recsys_lora.llm.source import Loading
from recsys_lora.methods.base import LLMModule
from recsys_lora.methods.llm_module import LLMRecommender
from recsys_lora.pipeline.collaborative import Collaborative
from recsys_lora.pipeline.config import Config, build
from recsys_lora.pipeline.sharded import wants_shards
from recsys_lora.pipeline.tasks import assemble_tasks
from recsys_lora.tasks.module import TaskData

RunData = PromptData | TaskData


def load_backbone(config: Config, data: PreparedData, place: torch.device) -> Backbone:
    """Return the frozen language model on this process's device, or spread over the devices of the job.

    Raises:
        UserError: it cannot be loaded, or not be spread as the trainer asks.
    """
    texts = [title for title in data.titles if title]
    backbone: Backbone
    if not wants_shards(config["trainer"]):
        backbone = build(config["llm"], "llm").load(texts=texts, device=place)
        return backbone
    source = build(config["llm"], "llm")
    if isinstance(source, Loading):  # it is loaded into host memory, but computes on the device
        source.dtype = dtype_name(resolve_dtype(source.dtype, place))
    return shard(source.load(texts=texts, device="cpu"), place, distributed.get_world_size())


def assemble(
    config: Config, data: PreparedData, collaborative: Collaborative | None, backbone: Backbone
) -> tuple[LLMModule, RunData]:
    """Return the untrained method, where its backbone is, and the rows of its run."""
    kind = get_object(config["model"]["_target_"])
    if kind.multi_task:
        assert collaborative is not None
        several, questions = assemble_tasks(config, data, collaborative, backbone)
        return several.to(backbone.device), questions
    factory, node = build(config["model"], "model"), config["data"]
    parts: dict[str, Any] = {"backbone": backbone, "identity": {"data": data.key}}
    if collaborative is not None:
        parts["encoder"] = collaborative.encoder
        parts["identity"] |= {"encoder": collaborative.key}
    asked = inspect.signature(kind).parameters
    parts |= {name: offer() for name, offer in _offers(config, data).items() if name in asked}
    module: LLMRecommender = factory(**parts)
    datamodule = module.datamodule(
        data,
        node["wording"],
        seed=config["seed"],
        token_budget=config["evaluation"]["token_budget"],
        train_rows=node["train_rows"],
        valid_rows=node["valid_rows"],
        sample_seed=node["sample_seed"],
    )
    return module.to(backbone.device), datamodule


def _offers(config: Config, data: PreparedData) -> dict[str, Callable[[], Any]]:
    """Return what a method gets if its constructor has an argument of that name, each made when asked for."""

    def untrained() -> nn.Module:
        encoder: nn.Module = build(config["cf"]["encoder"], "cf.encoder")(Catalogue.from_prepared(data))
        return encoder

    return {"catalogue": lambda: Catalogue.from_prepared(data), "untrained_encoder": lambda: untrained}
