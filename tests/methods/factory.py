"""Methods on a tiny backbone, as the configs would make them."""

import functools

import lightning
import torch

from recsys_lora.llm.backbone import Backbone
from recsys_lora.llm.tiny import TinySource
from recsys_lora.methods.cora.generator import WeightGenerator
from recsys_lora.methods.cora.module import CoRAModule
from recsys_lora.methods.optimizer import OptimizerSettings
from recsys_lora.methods.zero_shot import ZeroShot
from recsys_lora.prompts.template import Template

ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj")
GENERATOR = {"query_dim": 32, "blocks": 1, "heads": 4, "dropout": 0.0}


def backbone(data) -> Backbone:
    """Return the same random model for the same titles."""
    return TinySource().load(data.titles[1:], "cpu")


def template(**knobs) -> Template:
    return Template(
        "A user rated {history}. Would the user enjoy {title}? #Answer:",
        "Would the user enjoy {title}? #Answer:",
        **{"item": "{title}", "history_items": 2, **knobs},
    )


def cora(data, encoder, *, generator=None, lr=1e-3, identity=None, seed=0, **knobs) -> CoRAModule:
    torch.manual_seed(seed)
    settings = {
        "name": "cora",
        "prompt": template(),
        "batch_rows": 32,
        "score": "yes_minus_no",
        "optimizer": OptimizerSettings(lr=lr, weight_decay=0.0),
        "generator": functools.partial(WeightGenerator, **{**GENERATOR, **(generator or {})}),
        "rank": 8,
        "alpha": 16.0,
        "targets": ALL,
        "sharing": "all",
        "dropout": 0.0,
        "dropout_per": "sample",
        "input_scale": "std",
        "backbone": backbone(data),
        "identity": {"data": data.key, "encoder": "table"} if identity is None else identity,
    }
    return CoRAModule(encoder=encoder, **{**settings, **knobs})


def zero_shot(data, **knobs) -> ZeroShot:
    settings = {"name": "zero_shot", "prompt": template(), "score": "yes_minus_no", "backbone": backbone(data)}
    return ZeroShot(**{**settings, **knobs})


def trainer(**options) -> lightning.Trainer:
    return lightning.Trainer(
        **{
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "gradient_clip_val": 1.0,
            **options,
        }
    )
