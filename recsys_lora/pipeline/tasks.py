"""Models of several tasks: which tasks a run has, and how model and questions are put together."""

import logging
from dataclasses import replace
from typing import Any

from recsys_lora.cf.encoder import CollaborativeEncoder
from recsys_lora.config.edge import build
from recsys_lora.config.hints import suggestion
from recsys_lora.config.record import RunConfig
from recsys_lora.data.groups import FORWARD_COST
from recsys_lora.data.prepared import PreparedData
from recsys_lora.errors import UserError
from recsys_lora.llm.backbone import Backbone
from recsys_lora.methods.base import LLMModule
from recsys_lora.methods.ckf.module import CKFMultiTaskModule
from recsys_lora.pipeline.collaborative import Collaborative
from recsys_lora.tasks.module import TaskData
from recsys_lora.tasks.prompts import TaskPrompts
from recsys_lora.tasks.scale import RatingScale
from recsys_lora.tasks.task import Task

log = logging.getLogger(__name__)


def choose_tasks(config: RunConfig, data: PreparedData) -> RunConfig:
    """Return the config with the tasks that this run has, in the order asked for.

    Args:
        config: the run's; `tasks` names some of `model.tasks`, null means all that the data can be asked.
        data: the prepared data set.

    Raises:
        UserError: a task is unknown, is one the data cannot be asked, or the model has no tasks at all.
    """
    asked, known = config.tasks, config.model.get("tasks")
    if known is None:
        if asked is not None:
            raise UserError(f"tasks={asked}: model={config.model['name']} has one task: leave tasks=null")
        return config
    if asked is not None and not asked:
        raise UserError(f"tasks=[]: name at least one of {', '.join(known)}, or leave tasks=null for all")
    for name in asked or []:
        if name not in known:
            raise UserError(f"tasks={asked}: no task {name}: {suggestion(name, list(known))}")
    chosen = {}
    for name in dict.fromkeys(asked or known):
        reason = build(known[name], f"model.tasks.{name}").missing(data)
        if reason is None:
            chosen[name] = known[name]
        elif asked is not None:
            raise UserError(f"tasks={asked}: {name} cannot be asked of data={data.manifest['name']}: {reason}")
        else:
            log.info("task %s is left out: data=%s: %s", name, data.manifest["name"], reason)
    if not chosen:
        raise UserError(f"data={data.manifest['name']} can be asked none of {', '.join(known)}")
    return replace(config, tasks=list(chosen), model={**config.model, "tasks": chosen})


def rating_scale(config: RunConfig) -> RatingScale:
    """Return the data set's ratings."""
    return RatingScale(**config.data.rating_scale.as_dict())


def assemble_tasks(
    config: RunConfig, data: PreparedData, collaborative: Collaborative, backbone: Backbone
) -> tuple[LLMModule, TaskData]:
    """Return the untrained model of several tasks and the questions of its run."""
    node, scale = config.data, rating_scale(config)
    encoder: CollaborativeEncoder = collaborative.encoder  # type: ignore[assignment]  # a module behind a Protocol
    history = max(config.model["history_length"], encoder.history_length)
    tasks: dict[str, Task] = {name: build(task, f"model.tasks.{name}") for name, task in config.model["tasks"].items()}
    prompts = {
        name: TaskPrompts(data, task, number, backbone, dict(node.wording), scale, history)
        for number, (name, task) in enumerate(tasks.items())
    }
    parts: dict[str, Any] = {
        "tasks": tasks,
        "choices": [made.choices for made in prompts.values()],
        "backbone": backbone,
        "encoder": collaborative.encoder,
        "identity": {"data": data.key, "encoder": collaborative.key},
    }
    factory = build({key: value for key, value in config.model.items() if key != "tasks"}, "model")
    module: CKFMultiTaskModule = factory(**parts)
    datamodule = TaskData(
        data,
        scale,
        tasks,
        prompts,
        batch_rows=module.batch_rows,
        seed=config.seed,
        pad_id=backbone.pad_id,
        padding=module.padding,
        token_budget=config.scoring_tokens,
        train_rows=node.train_rows,
        valid_rows=node.valid_rows,
        sample_seed=node.sample_seed,
        forward_cost=resolved_cost(module.forward_cost, backbone),
        temperature=module.temperature,
    )
    return module, datamodule


def resolved_cost(wanted: float | str | None, backbone: Backbone) -> float | None:
    """Return what a forward costs beside its tokens, in tokens; None: batches stay whole.

    Raises:
        UserError: a cost is given where all processes have to run the same forwards.
    """
    if wanted == "auto":
        return FORWARD_COST if backbone.device.type == "cpu" and not backbone.sharded else None
    if wanted is not None and backbone.sharded:
        raise UserError(
            f"model.forward_cost={wanted}: processes that share a backbone's weights run the same forwards, whatever "
            "the lengths of their prompts: set model.forward_cost=null"
        )
    return None if wanted is None else float(wanted)
