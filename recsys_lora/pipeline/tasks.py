"""The tasks of a run: those its config asks for, and those its data allow."""

import logging

from hydra.utils import get_object

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


def asked_tasks(config: RunConfig) -> dict[str, Task]:
    """Return the tasks that a config asks for, by name, in the order given; all existing tasks if `tasks` is null.

    Args:
        config: the run's; `tasks` names some of `task`, null means all that can be asked.

    Raises:
        UserError: a task is unknown, cannot be answered by the model, or refuses its own settings.
    """
    asked, known = config.tasks, config.task
    if asked is not None and not asked:
        raise UserError(f"tasks=[]: name at least one of {', '.join(known)}, or tasks=null for all")
    for name in asked or []:
        if name not in known:
            raise UserError(f"tasks={asked}: no task {name}: {suggestion(name, list(known))}")
    built = built_tasks(known, config.data.rating_scale.as_dict(), asked or list(known))
    for name, task in built.items():
        if asked is not None and (reason := _not_answered(config, task)):
            raise UserError(f"tasks={asked}: {name} cannot be asked of {reason}")
    return built


def choose_tasks(config: RunConfig, data: PreparedData) -> dict[str, Task]:
    """Return a run's tasks: all that are asked for or, if `tasks` is null, those that model and data allow.

    Args:
        config: the run's.
        data: the prepared data set.

    Raises:
        UserError: see `asked_tasks`; or the data do not allow a task.
    """
    chosen: dict[str, Task] = {}
    for name, task in asked_tasks(config).items():
        missing = task.missing(data)
        reason = _not_answered(config, task)
        reason = reason or (f"data={data.manifest['name']}: {missing}" if missing else None)
        if reason is None:
            chosen[name] = task
        elif config.tasks is not None:
            raise UserError(f"tasks={config.tasks}: {name} cannot be asked of {reason}")
        else:
            log.info("task %s is left out: %s", name, reason)
    if not chosen:
        raise UserError(f"data={data.manifest['name']} can be asked none of {', '.join(config.task)}")
    return chosen


def _not_answered(config: RunConfig, task: Task) -> str | None:
    reason = get_object(config.model["_target_"]).cannot_answer(task)
    return f"model={config.model['name']}: {reason}" if reason else None


def mixing_of(config: RunConfig, backbone: Backbone, tasks: int) -> Mixing:
    """Return how batches mix tasks; with a single task, batches are not split unless a cost is given."""
    cost = config.mixing.forward_overhead_tokens
    return Mixing(config.mixing.temperature, resolved_cost(None if cost == "auto" and tasks == 1 else cost, backbone))


def resolved_cost(wanted: float | str | None, backbone: Backbone) -> float | None:
    """Return the overhead of a forward pass, in tokens; None: batches are not split.

    Raises:
        UserError: a cost is given although all processes have to run the same forward passes.
    """
    if wanted == "auto":
        return FORWARD_OVERHEAD_TOKENS if backbone.device.type == "cpu" and not backbone.sharded else None
    if wanted is not None and backbone.sharded:
        raise UserError(
            f"mixing.forward_overhead_tokens={wanted}: processes that share a backbone's weights run the same "
            "forwards, whatever the lengths of their prompts: set mixing.forward_overhead_tokens=null"
        )
    return None if wanted is None else float(wanted)
