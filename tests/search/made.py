"""Searches of these tests, and how they are read back."""

import subprocess
import sys
from pathlib import Path

import optuna
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from recsys_lora.config.paths import conf_dir
from recsys_lora.search.trials import search
from tests.jobs import SMALL

CORA = ("hparams_search=cora", *(o for o in SMALL if not o.startswith("model.rank")), "search.space.model.rank=[2,4]")


def with_choices(*overrides: str):
    cfg = compose("config", list(overrides), return_hydra_config=True)
    choices = dict(cfg.hydra.runtime.choices)
    OmegaConf.set_struct(cfg, False)
    del cfg["hydra"]
    return cfg, choices


def searched(folder: Path, *overrides: str):
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        cfg, choices = with_choices(*overrides)
        cfg.paths.run = str(folder)
        search(cfg, folder, choices)


def stored(folder: Path) -> optuna.Study:
    """Return the one study of a folder, as optuna itself reads it."""
    return optuna.load_study(study_name=None, storage=f"sqlite:///{folder / 'study.db'}")


def typed(folder: Path, *line: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", *line], cwd=folder, capture_output=True, text=True, check=False)
