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
from recsys_lora.utils.files import write_json

PROMPT, EMBEDS = "prompt.json", "prompt_embeds.safetensors"


@dataclass(frozen=True)
class Selection:
    """Which of a run's updates to export.

    Attributes:
        user: raw id; selects updates that are per pair or per user, and otherwise only the prompt beside them.
        item: raw id; selects updates that are per pair, and otherwise only the prompt.
        task: selects updates that are per task, and the prompt.
    """

    user: str | None = None
    item: str | None = None
    task: str | None = None


@dataclass(frozen=True)
class Update:
    """Low-rank updates to export.

    Attributes:
        injection: the injected layers.
        task: the task's index, used if the updates are routed.
        pair: the factors (in, R) of the pair or the user if the updates are generated, else None.
        name: the task's name.
        batch: the prompt of the pair, None if none was asked for.
    """

    injection: Injection
    task: int | None
    pair: dict[str, Tensor] | None
    name: str
    batch: PromptBatch | None


def update_of(recommender: Recommender, selection: Selection) -> Update:
    """Return a run's updates.

    Raises:
        UserError: the run has none, or none that work on their own; a task or a pair is needed and not given; or an
            id is unknown.
    """
    module = module_of(recommender)
    injection = module.lowrank
    if injection is None:
        raise UserError(f"model={module.name}: nothing low-rank is trained: there is no adapter to export")
    sources = [source for layer in injection.layers.values() for source in layer.sources]
    if any(isinstance(source, Shifted) for source in sources):
        raise UserError(
            f"model={module.name}: adds vectors inside the updates, which adapters cannot: export to=bundle"
        )
    task = _task(module, selection, any(isinstance(source, Routed) for source in sources))
    if selection.user is not None:
        recommender.history(selection.user)  # refuses an unknown user, who would need a history
    batch = None
    if selection.user is not None and selection.item is not None and task in PAIRWISE:
        batch = recommender.prompt(selection.user, selection.item, task)
    pair = None
    if any(isinstance(source, Generated) for source in sources):
        asked = batch
        if asked is None and module.weights_of_user and selection.user is not None:
            asked = recommender.prompt(selection.user, next(filter(None, recommender.run.data.raw_item_ids)), task)
        pair = _pair(module, injection, asked)
    return Update(injection, list(module.tasks).index(task), pair, task, batch)


def write_adapter(recommender: Recommender, folder: Path, selection: Selection) -> None:
    """Write peft's two files and the prompt beside them.

    Raises:
        UserError: see `update_of`.
    """
    module, update = module_of(recommender), update_of(recommender, selection)
    export(update.injection, folder, base_model(module), update.task, update.pair)
    write_prompt(folder, module, update, selection)


def write_prompt(folder: Path, module: LLMRecommender, update: Update, selection: Selection) -> None:
    """Write an adapter's input: `prompt.json` and, for soft tokens, `prompt_embeds.safetensors`."""
    write_json(folder / PROMPT, described(module, update, selection))
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


def _task(module: LLMRecommender, selection: Selection, needed: bool) -> str:
    if selection.task is not None and selection.task not in module.tasks:
        raise UserError(f"task={selection.task}: the run has {', '.join(module.tasks)}: choose one of them")
    if selection.task is None and needed and len(module.tasks) > 1:
        raise UserError(f"task: the updates differ by task: give one of {', '.join(module.tasks)}")
    return selection.task or next(iter(module.tasks))


def _pair(module: LLMRecommender, injection: Injection, batch: PromptBatch | None) -> dict[str, Tensor]:
    """Return the factors (in, R) that the method generates for the pair of a batch of one, unscaled."""
    if batch is None:
        whose = (
            "user: the updates are those of one user: give user=ID"
            if module.weights_of_user
            else ("user, item: the updates are those of one user and one item: give both, as user=ID item=ID")
        )
        raise UserError(whose)
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


def described(module: LLMRecommender, update: Update, selection: Selection) -> dict[str, Any]:
    """Return the prompt that gives the run's scores, and where they are read."""
    choices = module.readings[update.name].choices
    answers = None
    if choices is not None:
        answers = dict(zip(module.tasks[update.name].choices or (), choices.token_ids, strict=True))
    batch, ids, soft = update.batch, None, None
    if batch is not None:
        [ids], [soft] = batch.input_ids.tolist(), batch.soft_positions.tolist()
    return {
        "task": update.name,
        "answers": answers,
        "score": module.score,
        "user": selection.user,
        "item": selection.item,
        "prompt": None if ids is None else module.backbone.tokenizer.decode(ids),
        "input_ids": ids,
        "soft_positions": soft,
        "offset": None if batch is None else _offset(module, update, batch),
    }


def _offset(module: LLMRecommender, update: Update, batch: PromptBatch) -> dict[str, float] | None:
    """Return the factor and offset that the method applies to a yes-or-no prompt's logit; None if it applies none."""
    if module.offset is None or not module.tasks[update.name].is_binary:
        return None
    logit = torch.zeros(1, device=module.device)
    with torch.inference_mode(), evaluating(module):
        plus, one = (float(module.offset(batch, logit + at)) for at in (0, 1))
    return {"times": one - plus, "plus": plus}
