"""Methods on a tiny backbone, as the configs would make them."""

import copy
import functools

import lightning
import torch

from recsys_lora.cf.encoder import Catalogue
from recsys_lora.llm.backbone import Backbone
from recsys_lora.llm.tiny import TinySource
from recsys_lora.methods.binllm import BinLLM
from recsys_lora.methods.collm import CoLLM
from recsys_lora.methods.cora.generator import WeightGenerator
from recsys_lora.methods.cora.module import CoRAModule
from recsys_lora.methods.graphlora import GraphLoRA
from recsys_lora.methods.lora import LoRA
from recsys_lora.methods.optimizer import OptimizerSettings
from recsys_lora.methods.person_prompt import PersonPrompt
from recsys_lora.methods.prompt4nr import Prompt4NR
from recsys_lora.methods.tallrec import TALLRec
from recsys_lora.methods.user_item_graph import GraphNetwork
from recsys_lora.methods.zero_shot import ZeroShot
from recsys_lora.prompts.template import Template
from recsys_lora.tasks.ctr import ClickThrough
from tests.tasks.world import prompts

ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj")
GENERATOR = {"query_dim": 32, "blocks": 1, "heads": 4, "dropout": 0.0}


def asked() -> dict[str, ClickThrough]:
    """Return the one task `ctr`."""
    return {"ctr": ClickThrough(**prompts())}


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
        "tasks": asked(),
        "prompt": template(),
        "batch_size": 32,
        "score": "yes_minus_no",
        "optimizer": OptimizerSettings(lr=lr, weight_decay=0.0),
        "generator": functools.partial(WeightGenerator, **{**GENERATOR, **(generator or {})}),
        "rank": 8,
        "alpha": 16.0,
        "targets": ALL,
        "sharing": "all",
        "scope": "all",
        "dropout": 0.0,
        "dropout_per": "sample",
        "input_scale": "std",
        "backbone": backbone(data),
        "identity": {"data": data.key, "encoder": "table"} if identity is None else identity,
    }
    offered = {"untrained_encoder": lambda: copy.deepcopy(encoder), "catalogue": Catalogue.from_prepared(data)}
    return CoRAModule(encoder=encoder, **{**settings, **offered, **knobs})


def soft_template(user="<user>", item="<item>", names=("user", "item")) -> Template:
    text = f"A user {user} rated {{history}}. Would the user enjoy {{title}} {item}? #Answer:"
    none = f"A user {user}: would the user enjoy {{title}} {item}? #Answer:"
    return Template(text, none, item="{title}", history_items=2, soft_tokens=names)


def bare_template() -> Template:
    """Two soft tokens and no text: all there is to read."""
    return Template("{history} <user><item>?", "<user><item>?", history_items=0, soft_tokens=("user", "item"))


def _with_lora(data, name, lr, knobs):
    """Return the arguments that methods with a static LoRA share."""
    return {
        "name": name,
        "tasks": asked(),
        "prompt": soft_template(),
        "batch_size": 32,
        "score": "yes_minus_no",
        "optimizer": OptimizerSettings(lr=lr, weight_decay=0.0),
        **vars(LoRA(targets=ALL, dropout=0.0)),
        "backbone": backbone(data),
        "identity": {"data": data.key},
        **knobs,
    }


def collm(data, encoder, *, lr=1e-3, seed=0, **knobs) -> CoLLM:
    torch.manual_seed(seed)
    settings = {
        "factor": 10,
        "input_scale": "std",
        "output_scale": "tokens",
        "tune_encoder": False,
        "encoder_start": "fitted",
        "tune_lora": False,
        "encoder": encoder,
        "untrained_encoder": lambda: copy.deepcopy(encoder),
    }
    return CoLLM(**_with_lora(data, "collm", lr, settings | knobs))


def graphlora(data, encoder, *, lr=1e-3, seed=0, graph=None, history_length=0, **knobs) -> GraphLoRA:
    torch.manual_seed(seed)
    if encoder.history_length != history_length:
        encoder = copy.deepcopy(encoder)
        encoder.history_length = history_length  # none by default: one vector a user, as a graph needs
    settings = {
        "beta": 0.1,
        "layer": "middle",
        "layer_alpha": None,
        "graph": functools.partial(GraphNetwork, **{"kind": "ngcf", "layers": 2, "dropout": 0.0, **(graph or {})}),
        "catalogue": Catalogue.from_prepared(data),
        "factor": 10,
        "input_scale": "std",
        "output_scale": "tokens",
        "tune_encoder": True,
        "encoder": encoder,
        "untrained_encoder": lambda: copy.deepcopy(encoder),
    }
    return GraphLoRA(**_with_lora(data, "graphlora", lr, settings | knobs))


def tallrec(data, *, lr=1e-3, seed=0, **knobs) -> TALLRec:
    torch.manual_seed(seed)
    return TALLRec(**_with_lora(data, "tallrec", lr, {"prompt": template()} | knobs))


def code_template() -> Template:
    asked = "would {user_code} enjoy {title} {item_code}? #Answer:"
    return Template(f"A user rated {{history}}: {asked}", asked, item="{title}", history_items=2)


def binllm(data, encoder, *, lr=1e-3, seed=0, **knobs) -> BinLLM:
    torch.manual_seed(seed)
    settings = {"prompt": code_template(), "encoder": encoder, "identity": {"data": data.key, "encoder": "table"}}
    return BinLLM(**_with_lora(data, "binllm", lr, settings | knobs))


def person_prompt(data, *, lr=1e-2, seed=0, **knobs) -> PersonPrompt:
    torch.manual_seed(seed)
    settings = {"catalogue": Catalogue.from_prepared(data), "unseen": "mean", "tune_lora": False}
    return PersonPrompt(**_with_lora(data, "person_prompt", lr, settings | knobs))


def prompt4nr(data, *, lr=1e-3, seed=0, **knobs) -> Prompt4NR:
    torch.manual_seed(seed)
    names = ("u1", "u2", "u3", "i1", "i2", "i3")
    settings = {"prompt": soft_template("<u1><u2><u3>", "<i1><i2><i3>", names)}
    return Prompt4NR(**_with_lora(data, "prompt4nr", lr, settings | knobs))


def zero_shot(data, **knobs) -> ZeroShot:
    settings = {"name": "zero_shot", "tasks": asked(), "prompt": template(), "backbone": backbone(data)}
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
