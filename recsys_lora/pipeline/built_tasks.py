"""Tasks, built from a config; a comparison of finished runs needs no more, and no torch."""

from collections.abc import Iterable, Mapping
from typing import Any

from recsys_lora.config.edge import build
from recsys_lora.tasks.scale import RatingScale
from recsys_lora.tasks.task import Task


def built_tasks(known: Mapping[str, Any], scale: Mapping[str, float], names: Iterable[str]) -> dict[str, Task]:
    """Return tasks by name.

    Args:
        known: their config nodes, `task`.
        scale: `data.rating_scale`.
        names: which of them.
    """
    return {name: build(known[name], f"task.{name}")(scale=RatingScale(**scale)) for name in dict.fromkeys(names)}


def task_of(config: Mapping[str, Any], name: str) -> Task:
    """Return a task of a finished run, given the run's config."""
    return built_tasks(config["task"], config["data"]["rating_scale"], [name])[name]
