"""What a run asks: the tasks of its config, built, and those that the data can be asked."""

import logging

from recsys_lora.config.hints import suggestion
from recsys_lora.config.record import RunConfig
from recsys_lora.data.length_buckets import FORWARD_OVERHEAD_TOKENS
from recsys_lora.data.prepared import PreparedData
from recsys_lora.llm.backbone import Backbone
from recsys_lora.pipeline.built_tasks import built_tasks
from recsys_lora.tasks.module import Mixing
from recsys_lora.tasks.task import Task
from recsys_lora.utils.errors import UserError

log = logging.getLogger(__name__)


def choose_tasks(config: RunConfig, data: PreparedData, reads_prompts: bool) -> dict[str, Task]:
    """Return the tasks that a run has, by name, in the order asked for.

    Args:
        config: the run's; `tasks` names some of `task`, null means all that can be asked.
        data: the prepared data set.
        reads_prompts: a language model answers; else a collaborative encoder does, by its own scores.

    Raises:
        UserError: a task is unknown, or is one that the data or the model cannot be asked.
    """
    asked, known = config.tasks, config.task
    if asked is not None and not asked:
        raise UserError(f"tasks=[]: name at least one of {', '.join(known)}, or tasks=null for all")
    for name in asked or []:
        if name not in known:
            raise UserError(f"tasks={asked}: no task {name}: {suggestion(name, list(known))}")
    chosen: dict[str, Task] = {}
    for name, task in built_tasks(known, config.data.rating_scale.as_dict(), asked or list(known)).items():
        reason = f"data={data.manifest['name']}: {missing}" if (missing := task.missing(data)) else None
        if not reads_prompts and not task.encoder_answers:
            reason = f"model={config.model['name']}: a CF model's scores do not answer it"
        if reason is None:
            chosen[name] = task
        elif asked is not None:
            raise UserError(f"tasks={asked}: {name} cannot be asked of {reason}")
        else:
            log.info("task %s is left out: %s", name, reason)
    if not chosen:
        raise UserError(f"data={data.manifest['name']} can be asked none of {', '.join(known)}")
    return chosen


def mixing_of(config: RunConfig, backbone: Backbone, tasks: int) -> Mixing:
    """Return how batches mix tasks; the batches of one task are not cut unless a cost is given."""
    cost = config.mixing.forward_overhead_tokens
    return Mixing(config.mixing.temperature, resolved_cost(None if cost == "auto" and tasks == 1 else cost, backbone))


def resolved_cost(wanted: float | str | None, backbone: Backbone) -> float | None:
    """Return what a forward costs beside its tokens, in tokens; None: batches stay whole.

    Raises:
        UserError: a cost is given where all processes have to run the same forwards.
    """
    if wanted == "auto":
        return FORWARD_OVERHEAD_TOKENS if backbone.device.type == "cpu" and not backbone.sharded else None
    if wanted is not None and backbone.sharded:
        raise UserError(
            f"mixing.forward_overhead_tokens={wanted}: processes that share a backbone's weights run the same "
            "forwards, whatever the lengths of their prompts: set mixing.forward_overhead_tokens=null"
        )
    return None if wanted is None else float(wanted)
