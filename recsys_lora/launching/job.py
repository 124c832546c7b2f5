"""One job of a multirun, from the command that composed it to the process that runs it.

A job travels as bytes: its composed config and the name of the module whose `task` it is. The process that gets them
runs the job as Hydra's own launcher does: same folder, same log, same callbacks, same status.json.
"""

import pickle
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobRuntime, JobStatus, configure_log, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from recsys_lora.config.jobs import FAILED, STATUS, Status, read_status
from recsys_lora.errors import UserError
from recsys_lora.files import write_json
from recsys_lora.launching import failures
from recsys_lora.launching.deadline import limit_training

OUTPUT = "output.log"
"""What a job's process printed, in the job's folder."""


@dataclass(frozen=True)
class SweepJob:
    """A job that can be sent to another process.

    Attributes:
        number: in the sweep's order.
        overrides: what it is started with, the command line's and the sweep's.
        folder: its own.
        payload: what `run_payload` reads.
    """

    number: int
    overrides: tuple[str, ...]
    folder: Path
    payload: bytes


@dataclass(frozen=True)
class _Payload:
    module: str
    config: DictConfig
    hydra_context: HydraContext
    command: tuple[str, ...]


def compose_jobs(
    context: HydraContext,
    task: TaskFunction,
    config: DictConfig,
    overrides: Sequence[Sequence[str]],
    first: int,
    training_seconds: float | None = None,
) -> list[SweepJob]:
    """Return the jobs of a multirun.

    Args:
        context: Hydra's.
        task: a module's function `task`, or what wraps it.
        config: the multirun's, with Hydra's own part.
        overrides: of each job.
        first: the number of the first.
        training_seconds: how long each trains at most, unless it says so itself; None: as long as it takes.

    Raises:
        UserError: the task's module cannot be imported by another process.
    """
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    sweep = Path(str(config.hydra.sweep.dir)).absolute()
    sweep.mkdir(parents=True, exist_ok=True)
    module = _importable(task.__module__)
    jobs = []
    for number, own in enumerate(overrides, first):
        composed = context.config_loader.load_sweep_config(config, list(own))
        with open_dict(composed):
            composed.hydra.job.id = str(number)
            composed.hydra.job.num = number
            composed.hydra.sweep.dir = str(sweep)  # where it lies has been chosen, by this process
            if training_seconds is not None:
                limit_training(composed, training_seconds)
        subdir = _subdir(composed)
        payload = pickle.dumps(_Payload(module, composed, context, tuple(sys.orig_argv)))
        jobs.append(SweepJob(number, tuple(composed.hydra.overrides.task), sweep / subdir, payload))
    return jobs


def run_payload(payload: bytes) -> None:
    """Run a job in this process, which does nothing else; its status.json says how it ended.

    Args:
        payload: of a `SweepJob` that this package made.
    """
    from hydra.utils import get_object

    from recsys_lora.config.face import task_of_sweep

    setup_globals()
    job: _Payload = pickle.loads(payload)
    sys.orig_argv[:] = job.command  # environment.json names the command that a person typed
    JobRuntime.instance().set("name", job.config.hydra.job.name)
    done = run_job(
        task_function=task_of_sweep(get_object(f"{job.module}.task")),
        config=job.config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
        hydra_context=job.hydra_context,
    )
    _ = done.return_value  # a failure of the job is booked by now: what this raises is a defect of ours


def ended(job: SweepJob, lost: str | None) -> str | None:
    """Book how a job's process ended.

    Args:
        job: the job.
        lost: why its process ended without saying so itself; None where it did.

    Returns:
        Why the job failed, one line; None where it did not.
    """
    if lost is not None:
        write_json(job.folder / STATUS, vars(Status(FAILED, list(job.overrides), lost)))
    status = read_status(job.folder)
    reason = status.error if status else None
    if reason is not None:
        failures.append(reason)
    return reason


def returned(job: SweepJob, reason: str | None) -> JobReturn:
    """Return what Hydra's sweeper gets for a job."""
    return JobReturn(overrides=list(job.overrides), status=JobStatus.COMPLETED, _return_value=reason)


def _importable(module: str) -> str:
    """Return a name by which another process imports a module, which in this one may be `__main__`.

    Raises:
        UserError: there is none.
    """
    if module != "__main__":
        return module
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None:
        raise UserError("hydra/launcher: start the command as python -m recsys_lora.run, for its jobs are processes")
    return str(spec.name)


def _subdir(config: DictConfig) -> str:
    """Return the name of a job's folder, which may depend on the job."""
    own = HydraConfig.instance()
    before = own.cfg
    own.set_config(config)
    try:
        return str(config.hydra.sweep.subdir)
    finally:
        own.cfg = before
