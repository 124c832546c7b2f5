"""The backbone with a run's low-rank updates added into its weights: a plain model for any engine."""

from pathlib import Path

import torch
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from recsys_lora.export.adapter import PROMPT, Selection, described, module_of, update_of
from recsys_lora.lowrank import Injection
from recsys_lora.lowrank.peft_format import factors_of
from recsys_lora.recommender.recommender import Recommender
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import write_json


def write_merged(recommender: Recommender, folder: Path, selection: Selection) -> None:
    """Write a model folder as `save_pretrained` does, with its tokenizer and `prompt.json`.

    Raises:
        UserError: see `update_of`; or the backbone is quantised.
    """
    module, update = module_of(recommender), update_of(recommender, selection)
    model = module.backbone.model
    if getattr(model, "hf_quantizer", None) is not None:
        raise UserError("llm.quantise: packed weights cannot take updates: load the run with llm.quantise=none")
    model.save_pretrained(folder, state_dict=_merged_state(update.injection, update.task, update.pair))
    module.backbone.tokenizer.save_pretrained(folder)
    write_json(folder / PROMPT, described(module, update, selection))


@torch.no_grad()
def _merged_state(injection: Injection, task: int | None, pair: dict[str, Tensor] | None) -> dict[str, Tensor]:
    """Return the model's state dict, under its own names, with the updates added; arguments as in `factors_of`."""
    updates = factors_of(injection, task, pair)
    state = {}
    for name, value in injection.model.state_dict().items():
        site, _, last = name.rpartition(".base.")
        if site not in updates:
            state[name] = value
            continue
        if last == "weight":
            A, P = (factor.float().to(value.device) for factor in updates[site])
            turned = isinstance(injection.layers[site].base, Conv1D)
            value = (value.float() + (A @ P.T if turned else P @ A.T)).to(value.dtype)
        state[f"{site}.{last}"] = value
    return state
