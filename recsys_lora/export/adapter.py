"""A run's low-rank updates as a folder that peft and inference engines load, with the prompt they were made for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from recsys_lora.cf.inference import evaluating
from recsys_lora.data.batch import PromptBatch
from recsys_lora.lowrank import Generated, Injection, Routed, Shifted
from recsys_lora.lowrank.peft_format import export
from recsys_lora.methods.base import LLMRecommender
from recsys_lora.recommender.recommender import Recommender
from recsys_lora.recommender.stages import PAIRWISE
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import atomic_folder, write_json

PROMPT, EMBEDS = "prompt.json", "prompt_embeds.safetensors"


@dataclass(frozen=True)
class Asked:
    """Which of a run's updates are wanted.

    Attributes:
        user: raw id, where the updates are a pair's; elsewhere, whose prompt is written beside them.
        item: raw id, the same.
        task: where there are updates of several tasks, or a prompt of one.
    """

    user: str | None = None
    item: str | None = None
    task: str | None = None


@dataclass(frozen=True)
class Update:
    """Low-rank updates that can leave the framework.

    Attributes:
        injection: the layers.
        task: the number of the task, where they are routed.
        pair: the factors (in, R) of the pair, where they are generated.
        name: of the task, None where the updates serve all.
        batch: the prompt of the pair, None where none was asked for.
    """

    injection: Injection
    task: int | None
    pair: dict[str, Tensor] | None
    name: str
    batch: PromptBatch | None


def update_of(recommender: Recommender, asked: Asked) -> Update:
    """Return a run's updates.

    Raises:
        UserError: the run has none, or none that stand alone; or a task or a pair is needed and not given.
    """
    module = module_of(recommender)
    injection = getattr(module, "lowrank", None)
    if not isinstance(injection, Injection):
        raise UserError(f"model={module.name}: nothing low-rank is trained: there is no adapter to export")
    sources = [source for layer in injection.layers.values() for source in layer.sources]
    if any(isinstance(source, Shifted) for source in sources):
        raise UserError(
            f"model={module.name}: adds vectors inside the updates, which adapters cannot: export to=bundle"
        )
    task = _task(module, asked, any(isinstance(source, Routed) for source in sources))
    batch = None
    if asked.user is not None and asked.item is not None and task in PAIRWISE:
        batch = recommender.asks(asked.user, asked.item, task)
    pair = None
    if any(isinstance(source, Generated) for source in sources):
        pair = _pair(module, injection, batch)
    return Update(injection, module.task_names.index(task), pair, task, batch)


def export_adapter(recommender: Recommender, folder: Path, asked: Asked) -> Path:
    """Write an adapter: peft's two files, `prompt.json`, and `prompt_embeds.safetensors` of prompts with soft tokens.

    Args:
        recommender: the run.
        folder: where to; replaced if it exists.
        asked: which updates.

    Returns:
        The folder.

    Raises:
        UserError: as `update_of`; or the disk is full.
    """
    module, update = module_of(recommender), update_of(recommender, asked)
    with atomic_folder(folder) as made:
        export(update.injection, made, base_model(module), update.task, update.pair)
        write_asked(made, module, update, asked)
    return folder


def write_asked(folder: Path, module: LLMRecommender, update: Update, asked: Asked) -> None:
    """Write what has to be asked beside an adapter: `prompt.json`, and `prompt_embeds.safetensors` of soft tokens."""
    write_json(folder / PROMPT, described(module, update, asked))
    if update.batch is not None and update.batch.soft_positions.shape[1]:
        with torch.inference_mode(), evaluating(module):
            embeds = module.embeds(update.batch)[0]
        save_file({"inputs_embeds": embeds.float().cpu().contiguous()}, folder / EMBEDS)


def base_model(module: LLMRecommender) -> str:
    """Return the hub id or the folder of a run's backbone, as an adapter's config names it."""
    identity, backbone = module.backbone.identity, module.backbone
    return str(identity.get("hub") or backbone.model.config.name_or_path or backbone.label)


def module_of(recommender: Recommender) -> LLMRecommender:
    """Return a run's method.

    Raises:
        UserError: it has none.
    """
    if recommender.run.method is None:
        raise UserError("this run has no language model: export to=vectors or to=bundle")
    return recommender.run.method.module


def _task(module: LLMRecommender, asked: Asked, needed: bool) -> str:
    """Return the task of the updates, or of the prompt beside them."""
    if asked.task is not None and asked.task not in module.task_names:
        raise UserError(f"task={asked.task}: the run has {', '.join(module.task_names)}: choose one of them")
    if asked.task is None and needed and len(module.task_names) > 1:
        raise UserError(f"task: the updates differ by task: give one of {', '.join(module.task_names)}")
    return asked.task or module.task_names[0]


def _pair(module: LLMRecommender, injection: Injection, batch: PromptBatch | None) -> dict[str, Tensor]:
    """Return the factors (in, R) that the method generates for the pair of a batch of one, unscaled."""
    if batch is None:
        raise UserError("user, item: the updates are those of one user and one item: give both, as user=ID item=ID")
    with torch.inference_mode(), evaluating(module):
        module.embeds(batch)
    state = injection.state.current
    assert state is not None, "embeds gives the layers their batch"
    if state.acts_at is not None:
        raise UserError(
            "model.scope=suffix: the updates act from the title on, and an adapter on all tokens: export to=bundle"
        )
    shapes = injection.state.shapes
    return {key: factor[0].float() / shapes[key].scale for key, factor in state.generated.items()}


def described(module: LLMRecommender, update: Update, asked: Asked) -> dict[str, Any]:
    """Return what has to be asked to get the run's scores, and where they are read."""
    choices = module.readings[update.name].choices
    answers = None
    if choices is not None:
        answers = dict(zip(module.tasks[update.name].choices or (), choices.token_ids, strict=True))
    record: dict[str, Any] = {"task": update.name, "answers": answers, "score": module.score}
    record |= {"user": asked.user, "item": asked.item, "prompt": None, "input_ids": None, "soft_positions": None}
    record["offset"] = None
    if update.batch is not None:
        [ids] = update.batch.input_ids.tolist()
        [soft] = update.batch.soft_positions.tolist()
        record |= {"prompt": module.backbone.tokenizer.decode(ids), "input_ids": ids, "soft_positions": soft}
        record["offset"] = _offset(module, update)
    return record


def _offset(module: LLMRecommender, update: Update) -> dict[str, float] | None:
    """Return what a yes-or-no prompt's logit is multiplied by and what is added to it, where the method does so."""
    if module.offset is None or update.batch is None or not module.tasks[update.name].is_binary:
        return None
    logit = torch.zeros(1, device=module.device)
    with torch.inference_mode(), evaluating(module):
        plus, one = (float(module.offset(update.batch, logit + at)) for at in (0, 1))
    return {"times": one - plus, "plus": plus}
