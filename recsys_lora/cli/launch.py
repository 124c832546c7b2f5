"""Commands that Hydra composes: run the task, print a user error as one line, set the exit status."""

import functools
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from recsys_lora.cli import help as help_page
from recsys_lora.cli.hydra_errors import FailedJobsError, HydraBypass
from recsys_lora.cli.user_errors import FAILED_JOBS, MISTAKE, SIGNALLED, leave, plain_output
from recsys_lora.config.hints import explain, refuse_missing
from recsys_lora.config.paths import conf_dir
from recsys_lora.processes.launched import is_rank_zero
from recsys_lora.processes.signals import REQUEUE, Stopped, raise_lost, requeue, stopping
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import disk_errors

Task = Callable[[DictConfig], None]
log = logging.getLogger(__name__)

GOES_ON = "the same command goes on from what is kept"


def launch(task: Task, config_name: str = "config", about: str = "run") -> None:
    """Compose the config from the command line, run `task` with it, and exit with the matching status.

    Args:
        task: a function of a module; takes the composed config and raises a `UserError` for a user's mistake.
        config_name: the yaml file at the top of conf/ that the command composes.
        about: the yaml file in conf/hydra/help/ that its --help begins with.

    Exit status: 0 success; 1 failed jobs of a sweep; 2 user error, with one line on standard error; 128 plus the number
    of the signal that ended it (130 interrupted, 143 terminated). Anything else is a bug in this package and shows its
    traceback.
    """
    try:
        if help_page.asked(sys.argv[1:]):
            with plain_output():
                print(help_page.text(config_name, about, sys.argv[1:]))  # noqa: T201 - this is the command line
            return
        with plain_output(), stopping():
            try:
                _run_hydra(task, config_name)
            except HydraBypass as passed:
                raise passed.error from None
            except Exception:
                raise_lost()  # Hydra may mistake a signal during composition for a config error
                raise
    except KeyboardInterrupt:
        leave(f"interrupted: {GOES_ON}", SIGNALLED + signal.SIGINT)
    except Stopped as stopped:
        leave(_stop_message(stopped), SIGNALLED + stopped.number)
    except FailedJobsError as failed:
        leave(f"error: {failed}", FAILED_JOBS)
    except UserError as error:
        log.debug("mistake", exc_info=error)
        leave(f"error: {error}", MISTAKE)
    except Exception as error:
        line = explain(error, sys.argv[1:])
        if line is None:
            raise
        leave(f"error: {line}", MISTAKE)


def task_of_job(task: Task) -> Task:
    """Return `task` as Hydra runs it for one job, alone or part of a sweep.

    A user error in a single run ends the command. In a sweep, whatever ends a job is recorded in its folder, and the
    next job runs.
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

        from recsys_lora.cli.jobs import run_job_of_sweep, run_single

        raise_lost()
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            run_job_of_sweep(explained, cfg)
            return
        try:
            run_single(explained, cfg)
        except UserError as error:  # Hydra would print it in its own way
            raise HydraBypass(error) from error

    return run


def _run_hydra(task: Task, config_name: str) -> None:
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and exiting: the hints need the error
    import hydra

    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=config_name)(task_of_job(task))()
    except OSError:
        with disk_errors(_run_folder()):  # Hydra's own records, and whatever else is written there
            raise


def _run_folder() -> Path:
    """Return the folder chosen for the run, or the working directory if none has been chosen yet."""
    from hydra.core.hydra_config import HydraConfig

    return Path(HydraConfig.get().run.dir if HydraConfig.initialized() else ".").absolute()


def _stop_message(stopped: Stopped) -> str:
    if stopped.number == REQUEUE:
        return requeue() if is_rank_zero() else f"{stopped}: {GOES_ON}"
    return f"{'interrupted' if stopped.number == signal.SIGINT else 'terminated'}: {GOES_ON}"
