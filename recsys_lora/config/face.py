"""The outermost command-line face: runs a task under Hydra and prints a person's mistake as one line."""

import functools
import logging
import os
import sys
from collections.abc import Callable

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from recsys_lora.config.hints import explain, refuse_missing
from recsys_lora.config.jobs import run_job_of_sweep
from recsys_lora.config.location import conf_dir
from recsys_lora.errors import UserError

Task = Callable[[DictConfig], None]
log = logging.getLogger(__name__)

FAILED_JOBS, MISTAKE, INTERRUPTED = 1, 2, 130


def launch(task: Task, config_name: str = "config") -> None:
    """Compose the config from the command line, run `task` with it, and leave with a fitting exit status.

    Args:
        task: gets the composed config; a mistake it finds is a `UserError`.
        config_name: the yaml file at the top of conf/ that the command composes.

    Exit status: 0 done; 1 jobs of a sweep failed; 2 a mistake of the person's, one line on standard error; 130
    interrupted. Anything else is a defect of this package and shows its traceback.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and leaving: the hints need the error
    import hydra

    mistakes: list[UserError] = []
    failed: list[str] = []
    run = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=config_name)(
        _kept(task, mistakes, failed)
    )
    try:
        run()
    except KeyboardInterrupt:
        _leave("interrupted: the same command goes on from what is cached", INTERRUPTED)
    except UserError as error:
        _leave(f"error: {error}", MISTAKE)
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        _leave(f"error: {line}", MISTAKE)
    if mistakes:
        _leave(f"error: {mistakes[0]}", MISTAKE)
    if failed:
        _leave(f"error: {len(failed)} of the sweep's jobs failed, the first with: {failed[0]}", FAILED_JOBS)


def _kept(task: Task, mistakes: list[UserError], failed: list[str]) -> Task:
    """Return `task` with its mistakes kept out of Hydra's own report.

    Of a single run the mistake is kept for the one line at the end. In a sweep whatever ends a job is kept in its
    folder, and the next job runs.
    """

    def explained(cfg: DictConfig) -> None:
        from hydra.errors import HydraException

        try:
            refuse_missing(cfg)
            task(cfg)
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(explain(error)) from error

    @functools.wraps(task)
    def run(cfg: DictConfig) -> None:
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        if HydraConfig.get().mode is RunMode.MULTIRUN:
            if reason := run_job_of_sweep(explained, cfg):
                failed.append(reason)
            return
        try:
            explained(cfg)
        except UserError as error:
            log.debug("mistake", exc_info=error)
            mistakes.append(error)

    return run


def _leave(line: str, status: int) -> None:
    print(line, file=sys.stderr)  # noqa: T201 - this is the face
    raise SystemExit(status)
