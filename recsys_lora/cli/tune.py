"""`recsys-lora tune`: search the space of `hparams_search`, and write the best as an experiment."""

from pathlib import Path

from omegaconf import DictConfig

from recsys_lora.cli.launch import launch
from recsys_lora.utils.errors import UserError, require
from recsys_lora.utils.libraries import load_libraries


def task(cfg: DictConfig) -> None:
    """Run one search in the folder that Hydra made for it; heavy imports happen here, after the command line is parsed.

    Raises:
        UserError: no space was chosen, or a package of the extra `tune` is missing.
    """
    if "search" not in cfg:
        raise UserError("there is no space to search: choose one, as hparams_search=cora")
    require("tune", "optuna", "matplotlib")
    load_libraries()
    from hydra.core.hydra_config import HydraConfig

    from recsys_lora.search.trials import search

    runtime = HydraConfig.get().runtime
    search(cfg, Path(runtime.output_dir), {str(key): choice for key, choice in runtime.choices.items()})


def main() -> None:
    """Run the command line."""
    launch(task, about="tune")
