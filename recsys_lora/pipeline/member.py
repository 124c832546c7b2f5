"""`python -m recsys_lora.pipeline.member FOLDER`: one more process of the job in FOLDER, started by its first one."""

import logging
import os
import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from recsys_lora.pipeline.config import plain
from recsys_lora.pipeline.job import CONFIG_FILE, run_stages
from recsys_lora.pipeline.quiet import quiet_libraries
from recsys_lora.pipeline.team import VARIABLES, joined, own_folder


def main(folder: Path) -> None:
    """Take part in the job of a run's folder, from its resolved config."""
    logging.basicConfig(level=logging.INFO)
    quiet_libraries()
    config = OmegaConf.load(folder / CONFIG_FILE)
    assert isinstance(config, DictConfig)
    with joined({name: os.environ[name] for name in VARIABLES}) as team:
        run_stages(plain(config), own_folder(Path(team.told(str(folder))), team.rank), team)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
