"""Jobs of a sweep: one that fails is marked and does not end the others, one that has finished is not run again."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from recsys_lora.errors import UserError
from recsys_lora.files import read_json, write_json

STATUS = "status.json"
FINISHED, FAILED = "finished", "failed"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Status:
    """How a job of a sweep ended.

    Attributes:
        status: finished or failed.
        overrides: what it was started with.
        error: why it failed, one line; None where it finished.
    """

    status: str
    overrides: list[str]
    error: str | None = None


def read_status(folder: Path) -> Status | None:
    """Return how the job of a folder ended; None where it never did."""
    path = folder / STATUS
    return Status(**read_json(path)) if path.is_file() else None


def run_job_of_sweep(task: Callable[[DictConfig], None], cfg: DictConfig) -> str | None:
    """Run one job of a multirun, unless the same overrides have finished in its folder.

    A defect's traceback goes into the job's log.

    Returns:
        Why it failed, one line; None where it did not.
    """
    from hydra.core.hydra_config import HydraConfig

    own = HydraConfig.get()
    folder, overrides = Path(own.runtime.output_dir), list(own.overrides.task)
    if read_status(folder) == Status(FINISHED, overrides):
        log.info("job %s: finished before, in %s", own.job.id, folder)
        return None
    (folder / STATUS).unlink(missing_ok=True)
    reason = None
    try:
        task(cfg)
    except UserError as error:
        reason = str(error)
        log.error("job %s: %s", own.job.id, reason)
    except Exception as error:  # whatever it is, the other jobs go on
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        log.exception("job %s: %s", own.job.id, reason)
    write_json(folder / STATUS, vars(Status(FAILED if reason else FINISHED, overrides, reason)))
    return reason
