"""A run's method put together before anything is fitted, so that what does not fit together is told first."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from hydra.utils import get_object

from recsys_lora.cf.encoder import Catalogue, CollaborativeEncoder
from recsys_lora.config.edge import build
from recsys_lora.config.record import RunConfig
from recsys_lora.data.prepared import PreparedData
from recsys_lora.llm.backbone import Backbone
from recsys_lora.methods.base import LLMRecommender
from recsys_lora.methods.checkpoint import start_from
from recsys_lora.pipeline.artifacts import ArtifactStore
from recsys_lora.pipeline.assembly import assemble
from recsys_lora.pipeline.collaborative import Collaborative, cf_key
from recsys_lora.pipeline.method import method_key
from recsys_lora.tasks.task import Task
from recsys_lora.utils.errors import first_stage


def check_assembly(
    config: RunConfig, store: ArtifactStore, data: PreparedData, tasks: Mapping[str, Task], backbone: Backbone
) -> None:
    """Make the method, and its first stage, with an encoder that is not fitted, and take them apart again.

    Args:
        config: the run's.
        store: the cache.
        data: the prepared data set.
        tasks: what the run asks.
        backbone: is afterwards as before.

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
                if config.train or not config.ckpt_path:  # a checkpoint holds the first stage's part, too
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
