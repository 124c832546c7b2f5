"""How a run stands is kept in its folder, alone or as a job of a sweep.

A job of a sweep that fails does not end the others; one that has finished is not run again.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from omegaconf import DictConfig

from recsys_lora.cli.folders import (
    FAILED,
    FINISHED,
    RUNNING,
    STATUS,
    Status,
    fingerprint,
    in_use,
    leads,
    leave,
    occupy,
    read_status,
    write_status,
)
from recsys_lora.errors import UserError

__all__ = ["FAILED", "FINISHED", "STATUS", "Status", "read_status", "run_job_of_sweep", "run_single"]
log = logging.getLogger(__name__)


def run_single(task: Callable[[DictConfig], None], cfg: DictConfig) -> None:
    """Run the one job of a command.

    Raises:
        UserError: another process is at work in its folder; and whatever the task raises.
    """
    from hydra.core.hydra_config import HydraConfig

    own = HydraConfig.get()
    with _at_work(Path(own.runtime.output_dir), list(own.overrides.task), fingerprint(cfg)):
        task(cfg)


def run_job_of_sweep(task: Callable[[DictConfig], None], cfg: DictConfig) -> str | None:
    """Run one job of a multirun, unless the same one has finished in its folder.

    A defect's traceback goes into the job's log.

    Returns:
        Why it failed, one line; None where it did not.
    """
    from hydra.core.hydra_config import HydraConfig

    own = HydraConfig.get()
    folder, overrides, mark = Path(own.runtime.output_dir), list(own.overrides.task), fingerprint(cfg)
    if read_status(folder) == Status(FINISHED, overrides, None, mark):
        log.info("job %s: finished before, in %s", own.job.id, folder)
        return None
    try:
        with _at_work(folder, overrides, mark):
            task(cfg)
    except UserError as error:
        log.error("job %s: %s", own.job.id, error)
        return _reason(error)
    except Exception as error:  # whatever it is, the other jobs go on
        log.exception("job %s: %s", own.job.id, _reason(error))
        return _reason(error)
    return None


@contextlib.contextmanager
def _at_work(folder: Path, overrides: list[str], mark: str) -> Iterator[None]:
    """Hold a run's folder and keep in it how the run ends; of one that is killed it says "running".

    Raises:
        UserError: another process holds it.
    """
    if not leads():
        yield
        return
    if not occupy(folder):
        raise UserError(in_use(folder))
    try:
        before = read_status(folder)
        if before is not None and before.fingerprint == mark and before.status != FINISHED:
            log.info("going on in %s", folder)
        write_status(folder, Status(RUNNING, overrides, None, mark))
        try:
            yield
        except Exception as error:
            write_status(folder, Status(FAILED, overrides, _reason(error), mark))
            raise
        write_status(folder, Status(FINISHED, overrides, None, mark))
    finally:
        leave(folder)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}".splitlines()[0]
