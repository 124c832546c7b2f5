"""Composes the config of one run from overrides, in Python as on the command line."""

from datetime import datetime
from pathlib import Path
from typing import Any

from hydra import compose as compose_yaml
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from recsys_lora.config.edge import read_run
from recsys_lora.config.hints import explain, refuse_missing
from recsys_lora.config.paths import conf_dir
from recsys_lora.config.record import RunConfig
from recsys_lora.utils.errors import UserError


def compose(*overrides: str, folder: str | Path | None = None) -> RunConfig:
    """Return the resolved and checked config of one run, as `python -m recsys_lora.run OVERRIDES` composes it.

    Args:
        overrides: as on the command line: `"model=cora"`, `"model.rank=8"`.
        folder: the run's; None: a new one, `MODEL-DATA/DATE` in `paths.runs`. It is created when the run begins.

    Returns:
        A typed record; its nodes with `_target_` are plain dicts: `config.model["rank"]`.

    Raises:
        UserError: a name is unknown, a value has the wrong type or range, one is missing, or the overrides describe
            more than one run.
    """
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
            cfg = compose_yaml("config", list(overrides), return_hydra_config=True)
        _refuse_several(cfg)
        choices = cfg.hydra.runtime.choices
        with open_dict(cfg):
            new = f"{cfg.model.name}-{cfg.data.name}/{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"
            cfg.paths.run = str(folder or Path(cfg.paths.runs) / new)
            cfg.group = cfg.group or choices.get("experiment")
            del cfg["hydra"]
        refuse_missing(cfg)
        return read_run(cfg)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        if line := explain(error, overrides):
            raise UserError(line) from error
        raise


def _refuse_several(cfg: DictConfig) -> None:
    """Refuse a config that is not one run: one with the parameters of a sweep, or the space of a search."""
    params: Any = cfg.hydra.sweeper.get("params")
    if params:
        raise UserError(
            f"experiment: a sweep over {', '.join(params)}, not one run: use python -m recsys_lora.run, or a loop"
        )
    if "search" in cfg:
        raise UserError(
            "hparams_search: a space, not a run: search it with python -m recsys_lora.tune, or leave it out"
        )
