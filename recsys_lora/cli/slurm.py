"""Runs the jobs of a multirun as a SLURM array, through submitit; this process waits and records how they ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from recsys_lora.cli.sweep_job import SweepJob, ended, run_payload
from recsys_lora.config.check import check
from recsys_lora.utils.console import say
from recsys_lora.utils.errors import UserError, require
from recsys_lora.utils.types import NonNegativeInt, PositiveInt

if TYPE_CHECKING:
    from submitit import Executor, Job
    from submitit.helpers import DelayedSubmission


@dataclass(frozen=True)
class SlurmSettings:
    """Settings of conf/hydra/launcher/slurm.yaml; flat, like the sbatch options that most of them become.

    Attributes:
        folder: submitit's, with the output of each job.
        cluster: slurm, or local: processes on this machine, for trying a sweep.
        partition: its name; None: the cluster's default.
        account: its name; None: the user's default.
        minutes: maximum wall time of a job.
        gpus: per job.
        cpus: per job.
        memory_gib: per job; None: the cluster's default.
        jobs: maximum number of jobs at a time.
        requeues: maximum requeues of a job after a timeout or preemption.
        seconds_to_requeue: time before its limit at which a job is notified.
        setup: shell commands before each job.
        sbatch: further sbatch options by name.
    """

    folder: str
    cluster: Literal["slurm", "local"] = "slurm"
    partition: str | None = None
    account: str | None = None
    minutes: PositiveInt = 1440
    gpus: NonNegativeInt = 1
    cpus: PositiveInt = 4
    memory_gib: PositiveInt | None = None
    jobs: PositiveInt = 16
    requeues: NonNegativeInt = 3
    seconds_to_requeue: PositiveInt = 120
    setup: list[str] = field(default_factory=list)
    sbatch: dict[str, str | int] = field(default_factory=dict)


class _Work:
    """The work of a SLURM job; after a requeue it continues in the same folder."""

    def __call__(self, payload: bytes) -> None:
        run_payload(payload)

    def checkpoint(self, payload: bytes) -> "DelayedSubmission":
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, payload)


def run_as_array(jobs: Sequence[SweepJob], settings: Mapping[str, Any]) -> list[str | None]:
    """Submit a sweep's jobs with the fields of `SlurmSettings` and wait for all of them.

    Returns:
        Why each job failed, one line each; None if it did not.

    Raises:
        UserError: a setting is wrong, submitit is not installed, or SLURM is missing.
        Stopped: a signal ended the command; by then the jobs have been cancelled.
    """
    check({"_target_": f"{__name__}.SlurmSettings", **settings}, "hydra.launcher")
    submitted = executor(SlurmSettings(**settings)).map_array(_Work(), [job.payload for job in jobs])
    names = ", ".join(one.job_id for one in submitted)
    say(f"{len(jobs)} jobs submitted ({names}): waiting; Ctrl-C cancels them")
    try:
        return [_gathered(job, one) for job, one in zip(jobs, submitted, strict=True)]
    except BaseException:
        for one in submitted:
            one.cancel(check=False)
        raise


def executor(settings: SlurmSettings) -> "Executor":
    """Return the submitit executor with these settings.

    Raises:
        UserError: submitit is not installed, or SLURM is missing.
    """
    require("slurm", "submitit", by="hydra/launcher=slurm")
    import submitit

    try:
        made = submitit.AutoExecutor(
            f"{settings.folder}/%j", cluster=settings.cluster, slurm_max_num_timeout=settings.requeues
        )
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"hydra/launcher=slurm: {reason}: start it on a machine of the cluster, or with "
            "hydra.launcher.cluster=local"
        ) from error
    made.update_parameters(
        name="recsys_lora",
        nodes=1,
        tasks_per_node=1,
        timeout_min=settings.minutes,
        gpus_per_node=settings.gpus,
        cpus_per_task=settings.cpus,
        mem_gb=settings.memory_gib,
        slurm_partition=settings.partition,
        slurm_account=settings.account,
        slurm_array_parallelism=settings.jobs,
        slurm_signal_delay_s=settings.seconds_to_requeue,
        slurm_setup=settings.setup or None,
        slurm_additional_parameters=settings.sbatch or None,
    )
    return made


def _gathered(job: SweepJob, submitted: "Job[None]") -> str | None:
    """Wait for a job, record how it ended and return why it failed."""
    error = submitted.exception()
    lost = None
    if error is not None:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[-1] if lines else type(error).__name__
        lost = f"its job {submitted.job_id} ended without a result ({reason}): see {submitted.paths.stderr}"
    reason_of_job = ended(job, lost)
    said = f"failed: {reason_of_job}" if reason_of_job else "finished"
    say(f"job {job.number}: {said}")
    return reason_of_job
