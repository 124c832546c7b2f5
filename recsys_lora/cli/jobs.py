"""One job, alone or part of a sweep: its folder is locked while it runs and records how it ended.

A job that fails does not end the other jobs of its sweep; one that has finished is not run again.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from omegaconf import DictConfig

from recsys_lora.cli.folders import fingerprint, hold, leave
from recsys_lora.cli.status import FAILED, FINISHED, RUNNING, STATUS, Status, read_status, write_status
from recsys_lora.processes.launched import is_rank_zero
from recsys_lora.utils.errors import UserError

Task = Callable[[DictConfig], None]
log = logging.getLogger(__name__)


def run_single(task: Task, cfg: DictConfig) -> None:
    """Run the only job of a command.

    Raises:
        UserError: another process is at work in its folder. Exceptions of the task pass through.
    """
    from hydra.core.hydra_config import HydraConfig

    own = HydraConfig.get()
    with _at_work(Path(own.runtime.output_dir), list(own.overrides.task), fingerprint(cfg)):
        task(cfg)


def run_job_of_sweep(task: Task, cfg: DictConfig) -> None:
    """Run one job of a multirun, unless it has already finished in its folder; `status.json` records how it ends.

    The traceback of an unexpected error goes into the job's log.
    """
    from hydra.core.hydra_config import HydraConfig

    own = HydraConfig.get()
    folder, overrides, mark = Path(own.runtime.output_dir), list(own.overrides.task), fingerprint(cfg)
    if read_status(folder) == Status(FINISHED, overrides, None, mark):
        log.info("job %s: finished before, in %s", own.job.id, folder)
        return
    try:
        with _at_work(folder, overrides, mark):
            task(cfg)
    except UserError as error:
        log.error("job %s: %s", own.job.id, error)
    except Exception as error:  # whatever it is, the other jobs go on
        log.exception("job %s: %s", own.job.id, _reason(error))


def jobs_of(sweep: Path) -> list[Path]:
    """Return the folders of a sweep's jobs that have been started or given up, in order."""
    found = {path.parents[1] for path in sweep.glob("*/.hydra/overrides.yaml")}
    found |= {path.parent for path in sweep.glob(f"*/{STATUS}")}
    return sorted(found, key=lambda job: (int(job.name), "") if job.name.isdigit() else (10**9, job.name))


def failures(sweep: Path) -> list[str]:
    """Return why jobs of a sweep failed, one line each, in order."""
    statuses = [read_status(job) for job in jobs_of(sweep)]
    return [str(status.error) for status in statuses if status is not None and status.status == FAILED]


@contextlib.contextmanager
def _at_work(folder: Path, overrides: list[str], mark: str) -> Iterator[None]:
    """Lock a run's folder and record in it how the run ends; the status of a killed run stays "running"."""
    if not is_rank_zero():
        yield
        return
    hold(folder)
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
