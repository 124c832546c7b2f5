"""One job of a multirun, from the command that composed it to the process that runs it.

A job is sent as bytes: its composed config and the name of the module with its `task`. The receiving process runs the
job as Hydra's own launcher does: same folder, same log, same callbacks, same status.json.
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

from recsys_lora.cli.deadline import limit_training
from recsys_lora.cli.status import FAILED, Status, read_status, write_status
from recsys_lora.config.resolvers import register

OUTPUT = "output.log"
"""File in a job's folder with the output of its process."""


@dataclass(frozen=True)
class SweepJob:
    """A job that can be sent to another process.

    Attributes:
        number: number in the sweep.
        overrides: those of the command line and of the sweep.
        folder: the job's folder.
        payload: input of `run_payload`.
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
        task: the function `task` of a module, or a wrapper of it.
        config: the multirun's config, including Hydra's own part.
        overrides: those of each job.
        first: number of the first job.
        training_seconds: maximum training time of a job that sets no limit itself; None: no limit.
    """
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    sweep = Path(str(config.hydra.sweep.dir)).absolute()
    sweep.mkdir(parents=True, exist_ok=True)
    jobs = []
    for number, own in enumerate(overrides, first):
        composed = context.config_loader.load_sweep_config(config, list(own))
        with open_dict(composed):
            composed.hydra.job.id = str(number)
            composed.hydra.job.num = number
            if training_seconds is not None:
                limit_training(composed, training_seconds)
        subdir = _subdir(composed)
        payload = pickle.dumps(_Payload(task.__module__, composed, context, tuple(sys.orig_argv)))
        jobs.append(SweepJob(number, tuple(composed.hydra.overrides.task), sweep / subdir, payload))
    return jobs


def run_payload(payload: bytes) -> None:
    """Run a job in this process, which does nothing else; its status.json records how it ended.

    Args:
        payload: payload of a `SweepJob` made by this package.
    """
    from hydra.utils import get_object

    from recsys_lora.cli.launch import task_of_job

    setup_globals()
    register()  # no config was composed in this process
    job: _Payload = pickle.loads(payload)
    sys.orig_argv[:] = job.command  # environment.json names the command as it was typed
    JobRuntime.instance().set("name", job.config.hydra.job.name)
    done = run_job(
        task_function=task_of_job(get_object(f"{job.module}.task")),
        config=job.config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
        hydra_context=job.hydra_context,
    )
    _ = done.return_value  # a failure of the job is recorded by now: anything raised here is our bug


def ended(job: SweepJob, lost: str | None) -> str | None:
    """Record how a job's process ended.

    Args:
        job: the job.
        lost: why its process ended without recording it; None if it did record it.

    Returns:
        Why the job failed, as one line; None if it did not.
    """
    if lost is not None:
        write_status(job.folder, Status(FAILED, list(job.overrides), lost))
    status = read_status(job.folder)
    return status.error if status else None


def returned(job: SweepJob, reason: str | None) -> JobReturn:
    """Return the result of a job for Hydra's sweeper."""
    return JobReturn(overrides=list(job.overrides), status=JobStatus.COMPLETED, _return_value=reason)


def _subdir(config: DictConfig) -> str:
    """Return the name of a job's folder, which may depend on the job."""
    own = HydraConfig.instance()
    before = own.cfg
    own.set_config(config)
    try:
        return str(config.hydra.sweep.subdir)
    finally:
        own.cfg = before
