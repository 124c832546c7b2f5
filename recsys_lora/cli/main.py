"""The outermost command-line face: runs a task under Hydra and prints a person's mistake as one line."""

import functools
import logging
import os
import signal
import sys
from collections.abc import Callable

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recsys_lora.cli import failures
from recsys_lora.cli import help as help_page
from recsys_lora.cli.folders import end_sweeps, leads, resumed
from recsys_lora.cli.jobs import run_job_of_sweep, run_single
from recsys_lora.config.hints import explain, refuse_missing
from recsys_lora.config.paths import conf_dir
from recsys_lora.errors import UserError
from recsys_lora.processes.signals import REQUEUE, Stopped, requeue, stopping

Task = Callable[[DictConfig], None]
log = logging.getLogger(__name__)

FAILED_JOBS, MISTAKE, SIGNALLED = 1, 2, 128
GOES_ON = "the same command goes on from what is kept"


def launch(task: Task, config_name: str = "config") -> None:
    """Compose the config from the command line, run `task` with it, and leave with a fitting exit status.

    Args:
        task: gets the composed config; a mistake it finds is a `UserError`.
        config_name: the yaml file at the top of conf/ that the command composes.

    Exit status: 0 done; 1 jobs of a sweep failed; 2 a mistake of the person's, one line on standard error; 128 and the
    number of a signal that ended it (130 interrupted, 143 terminated). Anything else is a defect of this package and
    shows its traceback.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and leaving: the hints need the error
    import hydra

    OmegaConf.register_new_resolver("resumed", resumed, replace=True)
    mistakes: list[UserError] = []
    failed: list[str] = []
    run = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=config_name)(
        _kept(task, mistakes, failed)
    )
    try:
        if help_page.asked(sys.argv[1:]):
            print(help_page.text(config_name, sys.argv[1:]))  # noqa: T201 - this is the face
            return
        with stopping():
            run()
        end_sweeps()
    except KeyboardInterrupt:
        _leave(f"interrupted: {GOES_ON}", SIGNALLED + signal.SIGINT)
    except Stopped as stopped:
        _leave(_farewell(stopped), SIGNALLED + stopped.number)
    except UserError as error:
        _leave(f"error: {error}", MISTAKE)
    except Exception as error:
        line = _mistake(error) or explain(error)
        if line is None:
            raise
        _leave(f"error: {line}", MISTAKE)
    if mistakes:
        _leave(f"error: {mistakes[0]}", MISTAKE)
    failed += failures
    if failed:
        _leave(f"error: {len(failed)} of the sweep's jobs failed, the first with: {failed[0]}", FAILED_JOBS)


def task_of_sweep(task: Task) -> Task:
    """Return `task` as a process runs it that was started for one job of a multirun."""
    return _kept(task, [], [])


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
            run_single(explained, cfg)
        except UserError as error:
            log.debug("mistake", exc_info=error)
            mistakes.append(error)

    return run


def _mistake(error: Exception) -> str | None:
    """Return the person's mistake that a function found which makes a value of the config; OmegaConf wraps it."""
    inner: BaseException | None = error if isinstance(error, OmegaConfBaseException) else None
    while inner is not None and not isinstance(inner, UserError):
        inner = inner.__cause__ or inner.__context__
    return str(inner) if inner is not None else None


def _farewell(stopped: Stopped) -> str:
    if stopped.number == REQUEUE:
        return requeue() if leads() else f"{stopped}: {GOES_ON}"
    return f"{'interrupted' if stopped.number == signal.SIGINT else 'terminated'}: {GOES_ON}"


def _leave(line: str, status: int) -> None:
    print(line, file=sys.stderr)  # noqa: T201 - this is the face
    raise SystemExit(status)
