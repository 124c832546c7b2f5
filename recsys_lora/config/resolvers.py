"""What the configs may compute: by which validation metric a run's weights are chosen, given its tasks."""

from collections.abc import Sequence

from omegaconf import OmegaConf


def valid_metric(tasks: Sequence[str] | None) -> str:
    """Return the AUC where `ctr` is the only task, else the mean of the tasks' losses."""
    return "valid/auc" if tasks is not None and list(tasks) == ["ctr"] else "valid/loss"


def valid_mode(tasks: Sequence[str] | None) -> str:
    """Return which way that metric is better."""
    return "max" if valid_metric(tasks) == "valid/auc" else "min"


def register() -> None:
    """Register them, in every process that composes a config or gets one with interpolations."""
    for resolver in (valid_metric, valid_mode):
        OmegaConf.register_new_resolver(resolver.__name__, resolver, replace=True)
