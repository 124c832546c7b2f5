"""`recsys-lora run`: prepare, fit the CF model, train the method, test, report; with -m a sweep of such runs."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, open_dict

from recsys_lora.cli.launch import launch
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.libraries import load_libraries


def task(cfg: DictConfig) -> None:
    """Run one job in the folder that Hydra made for it; heavy imports happen here, after the command line is parsed.

    Raises:
        UserError: a search space was chosen, which a single job cannot use.
    """
    if "search" in cfg:
        raise UserError(
            "hparams_search: a space, not a run: search it with python -m recsys_lora.tune, or leave it out"
        )
    load_libraries()
    from hydra.core.hydra_config import HydraConfig

    from recsys_lora.config.edge import read_run
    from recsys_lora.pipeline.job import execute

    hydra = HydraConfig.get()
    with open_dict(cfg):
        cfg.group = cfg.group or _group(hydra)
    folder = hydra.runtime.output_dir
    execute(read_run(cfg).at(folder), Path(folder))  # whatever folder the config was composed for or read from


def _group(hydra: Any) -> str | None:
    """Return the common name of the runs of an experiment or a sweep."""
    from hydra.types import RunMode

    if chosen := hydra.runtime.choices.get("experiment"):
        return str(chosen)
    return Path(hydra.sweep.dir).name if hydra.mode is RunMode.MULTIRUN else None


def main() -> None:
    """Run the command line."""
    launch(task)
