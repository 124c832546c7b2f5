"""The loggers of a run, from its config."""

from pathlib import Path

from lightning.pytorch.loggers import Logger

from recsys_lora.config.edge import build
from recsys_lora.config.record import RunConfig
from recsys_lora.utils.files import make_folder


def build_loggers(config: RunConfig) -> list[Logger]:
    """Return the run's loggers; those of a service send nothing before something is logged.

    Raises:
        UserError: a package or an account is missing, or a folder cannot be made.
    """
    for name, node in config.logger.items():
        if node and (folder := node.get("save_dir")):
            make_folder(Path(folder), f"logger.{name}.save_dir=FOLDER")
    return [build(node, f"logger.{name}") for name, node in config.logger.items() if node]
