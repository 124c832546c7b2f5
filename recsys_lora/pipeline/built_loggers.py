"""The loggers of a run, from its config."""

from lightning.pytorch.loggers import Logger

from recsys_lora.config.edge import build
from recsys_lora.config.record import RunConfig


def build_loggers(config: RunConfig) -> list[Logger]:
    """Return the run's loggers; those of a service send nothing before something is logged.

    Raises:
        UserError: a package or an account is missing.
    """
    return [build(node, f"logger.{name}") for name, node in config.logger.items() if node]
