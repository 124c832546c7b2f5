"""Tasks, built from a config: all that a comparison of finished runs needs, without torch."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from recsys_lora.config.check import check
from recsys_lora.config.edge import build
from recsys_lora.config.trust import check_targets
from recsys_lora.tasks.scale import RatingScale
from recsys_lora.tasks.task import Task
from recsys_lora.utils.errors import UserError


def built_tasks(known: Mapping[str, Any], scale: Mapping[str, float], names: Iterable[str]) -> dict[str, Task]:
    """Return the named tasks, built from their config nodes in `task` and from `data.rating_scale`."""
    return {name: build(known[name], f"task.{name}")(scale=RatingScale(**scale)) for name in dict.fromkeys(names)}


def task_of(config: Mapping[str, Any], name: str, trust: Sequence[str] = ()) -> Task:
    """Return a task of a finished run.

    Args:
        config: the run's, which may come from someone else.
        name: the task's name.
        trust: packages, besides this one, whose code the task may use.

    Raises:
        UserError: the config does not describe the task, or names untrusted code.
    """
    try:
        node, scale = config["task"][name], config["data"]["rating_scale"]
        rated = {key: float(scale[key]) for key in ("low", "high", "step")}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"task.{name}: not in the run's config, or without data.rating_scale: run it again") from error
    check_targets({"task": {name: node}}, trust)
    check(node, f"task.{name}")
    return built_tasks({name: node}, rated, [name])[name]
