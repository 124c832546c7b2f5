"""The Hydra callback that runs before Hydra creates the folder of a run or a sweep, and after a sweep's last job."""

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write

from recsys_lora.cli.folders import RUN, SWEEP, choose_folder, fingerprint, hold, leave
from recsys_lora.cli.hydra_errors import FailedJobsError, bypass_hydra
from recsys_lora.cli.jobs import failures, jobs_of
from recsys_lora.cli.status import FAILED, FINISHED, RUNNING, Status, read_status, write_status
from recsys_lora.config.check import refuse_unusable
from recsys_lora.config.edge import containers
from recsys_lora.processes.launched import is_rank_zero
from recsys_lora.utils.files import make_folder


class RunFolder(Callback):
    """Chooses the folder of a run or a sweep, locks that of a sweep, and records how the sweep ended."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Choose the run's folder."""
        with bypass_hydra():
            _choose(config, RUN)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Choose the sweep's folder and lock it."""
        with bypass_hydra():
            folder = _choose(config, SWEEP)
            if is_rank_zero():
                hold(folder)
                status = Status(RUNNING, list(config.hydra.overrides.task), None, fingerprint(config, SWEEP))
                write_status(folder, status)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Record how the sweep ended; each of its jobs has its own status.

        Raises:
            HydraBypass: with `FailedJobsError` if some of the jobs failed.
        """
        with bypass_hydra():
            if not is_rank_zero():
                return
            folder = Path(config.hydra.sweep.dir)
            statuses = [read_status(job) for job in jobs_of(folder)]
            done = bool(statuses) and all(status is not None and status.status == FINISHED for status in statuses)
            mark = fingerprint(config, SWEEP)
            write_status(folder, Status(FINISHED if done else FAILED, list(config.hydra.overrides.task), None, mark))
            leave(folder)
            if reasons := failures(folder):
                raise FailedJobsError(f"{len(reasons)} of the sweep's jobs failed, the first with: {reasons[0]}")


def _choose(config: DictConfig, kind: str) -> Path:
    """Choose a folder and create it; one named on the command line is used as it is."""
    refuse_unusable(containers(config, resolve=False))
    HydraConfig.instance().set_config(config)  # the folder's name contains the choices of some groups
    key = f"hydra.{kind}.dir"
    fresh = Path(str(OmegaConf.select(config, key)))
    if any(line.startswith(f"{key}=") for line in config.hydra.overrides.hydra):
        make_folder(fresh, f"{key}=FOLDER")
        return fresh
    folder = choose_folder(config, kind, fresh)
    make_folder(folder, "paths.runs=FOLDER")
    with read_write(config.hydra):
        OmegaConf.update(config, key, str(folder))
        config.hydra.overrides.hydra.append(f"{key}={QuotedString(str(folder), Quote.single).with_quotes()}")
    return folder
