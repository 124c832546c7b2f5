"""The Python API, for notebooks and services: overrides make a config, one call runs it, another loads what it made."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys_lora.config.paths import conf_dir
from recsys_lora.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from omegaconf import DictConfig

    from recsys_lora.config.record import RunConfig
    from recsys_lora.pipeline.job import Outcome
    from recsys_lora.recommender.recommender import Recommender

__all__ = ["compose", "load", "run_config"]


def compose(*overrides: str, folder: str | Path | None = None) -> "RunConfig":
    """Return the resolved and checked config of one run, as `python -m recsys_lora.run OVERRIDES` composes it.

    Args:
        overrides: as on the command line: `"model=cora"`, `"model.rank=8"`.
        folder: the run's; None: a new one, `MODEL-DATA/DATE` in `paths.runs`. It is made when the run begins.

    Returns:
        A typed record; its nodes with `_target_` are plain dicts, as `config.model["rank"]`.

    Raises:
        UserError: a name is unknown, a value has the wrong type or range, one is missing, or the overrides describe
            more than one run.
    """
    from hydra import compose as compose_yaml
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import open_dict
    from omegaconf.errors import OmegaConfBaseException

    from recsys_lora.config.edge import read_run
    from recsys_lora.config.hints import explain, refuse_missing

    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
            cfg = compose_yaml("config", list(overrides), return_hydra_config=True)
        _refuse_several(cfg)
        choices = cfg.hydra.runtime.choices
        with open_dict(cfg):
            cfg.paths.run = str(folder or _new_folder(Path(cfg.paths.runs), f"{cfg.model.name}-{cfg.data.name}"))
            cfg.group = cfg.group or choices.get("experiment")
            del cfg["hydra"]
        refuse_missing(cfg)
        return read_run(cfg)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(error)) from error


def run_config(config: "RunConfig") -> "Outcome":
    """Run all stages of a config in this process; what is cached is not made again.

    Args:
        config: from `compose`.

    Returns:
        The prepared data, the fitted encoder, the trained method and what metrics.json holds.

    Raises:
        UserError: the input is wrong; the line says what to do.
    """
    from recsys_lora.files import make_folder
    from recsys_lora.pipeline.job import execute

    folder = Path(config.paths.run)
    make_folder(folder, "paths.runs=FOLDER")
    return execute(config, folder)


def load(folder: str | Path, *overrides: str, device: str = "auto", trust: "Sequence[str]" = ()) -> "Recommender":
    """Load a finished run to use it: no raw data are read, nothing is trained, nothing is written into the run.

    Args:
        folder: of the run, or of a bundle that `recsys-lora export` made.
        overrides: as on the command line, of values that change no result: `"llm.path=FOLDER"`.
        device: auto, cpu, cuda or cuda:N; auto is a CUDA device where there is one.
        trust: packages whose code the run's config may name, besides this one: that of a method of your own.

    Returns:
        What scores, recommends and explains by raw ids, from any number of threads.

    Raises:
        UserError: it is no finished run, something of it is gone, the device is not there, or its config names
            code that is not trusted.
    """
    from recsys_lora.pipeline.loading import load_run
    from recsys_lora.recommender.recommender import Recommender

    return Recommender(load_run(Path(folder), device, overrides, trust))


def _refuse_several(cfg: "DictConfig") -> None:
    """Refuse what one run has no use for: the parameters of a sweep, the space of a search.

    Raises:
        UserError: there are some.
    """
    params: Any = cfg.hydra.sweeper.get("params")
    if params:
        raise UserError(
            f"experiment: a sweep over {', '.join(params)}, not one run: use python -m recsys_lora.run, or a loop"
        )
    if "search" in cfg:
        raise UserError(
            "hparams_search: a space, not a run: search it with python -m recsys_lora.tune, or leave it out"
        )


def _new_folder(runs: Path, name: str) -> Path:
    return runs / name / f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"
