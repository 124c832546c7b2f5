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
from recsys_lora.pipeline.assembly import assemble
from recsys_lora.pipeline.collaborative import Collaborative
from recsys_lora.tasks.task import Task
from recsys_lora.utils.errors import first_stage


def check_assembly(config: RunConfig, data: PreparedData, tasks: Mapping[str, Task], backbone: Backbone) -> None:
    """Make the method, and its first stage, with an encoder that is not fitted, and take them apart again.

    Args:
        config: the run's.
        data: the prepared data set.
        tasks: what the run asks.
        backbone: is afterwards as before.

    Raises:
        UserError: the options do not fit the backbone, the encoder, the data or each other.
    """
    with torch.random.fork_rng([backbone.device] if backbone.device.type == "cuda" else []):
        learned = {}
        if config.first:
            with first_stage(config.first):
                module = _unfitted(replace(config, model=config.first, first=None), data, tasks, backbone)
            module.release()
            learned = {name: value.detach() for name, value in module.named_parameters() if value.requires_grad}
        module = _unfitted(config, data, tasks, backbone)
        module.release()
        start_from(module, learned, module.name)


def _unfitted(config: RunConfig, data: PreparedData, tasks: Mapping[str, Task], backbone: Backbone) -> LLMRecommender:
    collaborative = None
    if get_object(config.model["_target_"]).needs_encoder:
        factory = build(config.cf.encoder, "cf.encoder")
        encoder: CollaborativeEncoder = factory(Catalogue.from_prepared(data)).to(backbone.device).eval()
        first = None if config.cf.train_share == 1 else encoder
        collaborative = Collaborative(config.cf.name, Path(), "not fitted", encoder, {}, first)
    module, _ = assemble(config, data, tasks, collaborative, backbone)
    return module
