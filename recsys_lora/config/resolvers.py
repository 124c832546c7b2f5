"""Resolvers for the configs: which validation metric selects a run's weights, given its tasks."""

from collections.abc import Sequence

from omegaconf import OmegaConf


def valid_metric(tasks: Sequence[str] | None) -> str:
    """Return the AUC's name if `ctr` is the only task, else that of the mean of the tasks' losses."""
    return "valid/auc" if tasks is not None and list(tasks) == ["ctr"] else "valid/loss"


def valid_mode(tasks: Sequence[str] | None) -> str:
    """Return whether higher (`max`) or lower (`min`) is better."""
    return "max" if valid_metric(tasks) == "valid/auc" else "min"


def register() -> None:
    """Register the resolvers, in every process that composes a config or gets one with interpolations."""
    for resolver in (valid_metric, valid_mode):
        OmegaConf.register_new_resolver(resolver.__name__, resolver, replace=True)
