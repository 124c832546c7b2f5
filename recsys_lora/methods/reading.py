"""How a method reads the prompts of its tasks: their wording, and which vector fills which soft token."""

import logging
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from recsys_lora.llm.backbone import Backbone
from recsys_lora.methods.soft_tokens import soft_columns
from recsys_lora.prompts.template import Template
from recsys_lora.tasks.prompts import Reading, Wording
from recsys_lora.tasks.task import CTR, Task, Version

log = logging.getLogger(__name__)


def readings_of(
    tasks: Mapping[str, Task],
    versions: Sequence[Version],
    backbone: Backbone,
    own: Template | None,
    worded: Callable[[Template], Template],
    find_title: bool,
) -> dict[str, Reading]:
    """Return how each task is read.

    Args:
        tasks: the tasks, by name.
        versions: the versions that the method reads; it answers the first.
        backbone: provides the tokenizer and the chat template.
        own: the method's own template for the task `ctr`; None for the task's.
        worded: changes a task's template into the one that the method reads.
        find_title: whether batches include where the candidate's title begins.

    Raises:
        UserError: wordings have no common ending, or the tokenizer cannot tell a task's answers apart.
    """
    readings = {}
    for name, task in tasks.items():
        if own is not None and name == CTR:
            wordings = {versions[0]: Wording(own, "model.prompt")}
        else:
            wordings = {v: Wording(worded(task.template(v)), f"task.{name}.{v}") for v in versions}
        readings[name] = reading = Reading.of(task, wordings, backbone, find_title)
        if reading.choices:
            log.info("%s: answers are read as the tokens %s", name, ", ".join(map(repr, reading.choices.pieces)))
    return readings


def columns_of(tasks: Mapping[str, Task], readings: Mapping[str, Reading], names: Sequence[str]) -> Tensor:
    """Return which vector fills each soft token of each task's prompts.

    Args:
        tasks: the tasks, by name.
        readings: the tasks' readings.
        names: the soft tokens that the method fills, in the order of its vectors, with one vector per candidate for
            the last one; empty if it fills none.

    Returns:
        (tasks, S) int64, padded with 0.

    Raises:
        UserError: a prompt has no soft tokens, or unknown ones.
    """
    if not names:
        return torch.zeros(len(tasks), 0, dtype=torch.long)
    templates = [readings[name].wordings[readings[name].answered].template for name in tasks]
    counts = [task.candidates for task in tasks.values()]
    rows = [
        soft_columns(template.soft_sequence(count), names) for template, count in zip(templates, counts, strict=True)
    ]
    width = max(map(len, rows))
    return torch.tensor([row + [0] * (width - len(row)) for row in rows])
