"""Runs the jobs of a multirun in parallel on this machine, each in a new process with its own cores and GPUs."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recsys_lora.cli.deadline import Deadline
from recsys_lora.cli.status import FINISHED, read_status
from recsys_lora.cli.sweep_job import OUTPUT, SweepJob, ended
from recsys_lora.config.check import check
from recsys_lora.processes.launched import last_line, module_command, share_of_cores
from recsys_lora.utils.console import duration, say
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.types import NonNegativeInt, OpenFraction, PositiveFloat, PositiveInt

SECONDS_BETWEEN_LOOKS = 0.1
SECONDS_TO_END = 10


@dataclass(frozen=True)
class LocalSettings:
    """Settings of conf/hydra/launcher/local.yaml.

    Attributes:
        jobs: maximum number of jobs at a time.
        gpus_per_job: GPUs per job; None distributes the available ones.
        threads_per_job: threads per job; None distributes the cores.
        minutes: time limit of the whole sweep; None: no limit.
        training_share: maximum fraction of a job's part of these minutes for training.
        archive: file with all run folders except checkpoints, written at the end by `SweepTable`; None: none.
    """

    jobs: PositiveInt = 2
    gpus_per_job: NonNegativeInt | None = None
    threads_per_job: PositiveInt | None = None
    minutes: PositiveFloat | None = None
    training_share: OpenFraction = 0.6
    archive: str | None = None


@dataclass(frozen=True)
class _Running:
    job: SweepJob
    process: subprocess.Popen[bytes]
    place: int
    since: float


def run_side_by_side(jobs: Sequence[SweepJob], settings: Mapping[str, Any]) -> list[str | None]:
    """Run jobs in parallel, as many at once as set.

    Args:
        jobs: in the order in which they start.
        settings: fields of `LocalSettings` by name.

    Returns:
        Why each job failed, one line each; None if it did not.

    Raises:
        UserError: a setting is wrong, or there are fewer GPUs than asked for.
        Stopped: a signal ended the command; by then the jobs' processes have ended.
    """
    chosen = local_settings(settings)
    deadline = Deadline.of(vars(chosen), len(jobs))
    places = [_variables(chosen, place) for place in gpus_of_places(chosen)]
    shared = set.intersection(*(set(job.overrides) for job in jobs)) if len(jobs) > 1 else set[str]()
    waiting, running, reasons = list(jobs), list[_Running](), dict[int, str | None]()
    try:
        while waiting or running:
            if waiting and deadline and deadline.left() < deadline.training_seconds:
                reasons |= {job.number: _not_started(job, chosen) for job in waiting}
                waiting.clear()
            if deadline and deadline.left() < SECONDS_TO_END:
                _end(running)
                over = f"hydra.launcher.minutes={chosen.minutes:g} are over"
                reasons |= {one.job.number: _close(one, over) for one in running}
                running.clear()
            taken = {one.place for one in running}
            for place in range(len(places)):
                if waiting and place not in taken:
                    running.append(_start(job := waiting.pop(0), place, places[place]))
                    varied = " ".join(override for override in job.overrides if override not in shared)
                    say(f"job {job.number}: started: {varied}")
            time.sleep(SECONDS_BETWEEN_LOOKS)
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                reasons[one.job.number] = _close(one)
    finally:
        _end(running)
    return [reasons[job.number] for job in jobs]


def local_settings(settings: Mapping[str, Any]) -> LocalSettings:
    """Check the settings and return them.

    Raises:
        UserError: one is unknown or wrong.
    """
    check({"_target_": f"{__name__}.LocalSettings", **settings}, "hydra.launcher")
    return LocalSettings(**settings)


def _start(job: SweepJob, place: int, variables: Mapping[str, str]) -> _Running:
    """Start a job's process in its own process group, so that Ctrl-C reaches only this process."""
    job.folder.mkdir(parents=True, exist_ok=True)
    with (job.folder / OUTPUT).open("wb") as output:
        process = subprocess.Popen(
            module_command("recsys_lora.cli.worker"),
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it has already ended, which polling will show
        process.stdin.write(b"%d\n" % len(job.payload) + job.payload)
        process.stdin.flush()
    return _Running(job, process, place, time.monotonic())


def _not_started(job: SweepJob, settings: LocalSettings) -> str | None:
    """Record that there was no time for a job and return this reason; None if the job had already finished before."""
    before = read_status(job.folder)
    if before is not None and (before.status, before.overrides) == (FINISHED, list(job.overrides)):
        return None
    minutes = f"hydra.launcher.minutes={settings.minutes:g}"
    reason = ended(job, f"not started: too little is left of {minutes}: give more, or fewer jobs")
    say(f"job {job.number}: {reason}: {' '.join(job.overrides)}")
    return reason


def _close(one: _Running, over: str | None = None) -> str | None:
    """Record the end of a job's process (`over`: why it was stopped, if it was) and return why the job failed."""
    _let_go(one.process)
    status, log = one.process.returncode, one.job.folder / OUTPUT
    lost = f"its process ended with {_named(status)} ({over or last_line(log)}): see {log}" if status else None
    reason = ended(one.job, lost)
    took = duration(time.monotonic() - one.since)
    said = f"failed after {took}: {reason}" if reason else f"finished, {took}"
    say(f"job {one.job.number}: {said}")
    return reason


def _end(running: Sequence[_Running]) -> None:
    """End processes and their children: terminate, wait a little, kill."""
    for one in running:
        _signal(one.process, signal.SIGTERM)
    last = time.monotonic() + SECONDS_TO_END
    for one in running:
        with contextlib.suppress(subprocess.TimeoutExpired):
            one.process.wait(timeout=max(0.0, last - time.monotonic()))
        _signal(one.process, signal.SIGKILL)
        one.process.wait()
        _let_go(one.process)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a process's group; the process itself may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _let_go(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()


def gpus_of_places(settings: LocalSettings) -> list[str | None]:
    """Return CUDA_VISIBLE_DEVICES for each of the concurrent jobs; None leaves it unchanged.

    Raises:
        UserError: there are fewer GPUs than asked for.
    """
    if settings.gpus_per_job == 0:
        return [""] * settings.jobs
    there = _visible_gpus()
    own = settings.gpus_per_job
    if own is None:
        if not there:
            return [None] * settings.jobs
        own = max(1, len(there) // settings.jobs)
    elif own * settings.jobs > len(there):
        raise UserError(
            f"hydra.launcher.gpus_per_job={own}: {settings.jobs} jobs at once need {own * settings.jobs} GPUs, here "
            f"are {len(there)}: lower hydra.launcher.jobs, or leave gpus_per_job=null to let jobs share them"
        )
    return [
        ",".join(there[(place * own + index) % len(there)] for index in range(own)) for place in range(settings.jobs)
    ]


def _visible_gpus() -> list[str]:
    """Return the GPUs that this process sees, by their names in CUDA_VISIBLE_DEVICES."""
    if (given := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def _variables(settings: LocalSettings, gpus: str | None) -> dict[str, str]:
    """Return the environment variables that are specific to a job."""
    threads = settings.threads_per_job or share_of_cores(settings.jobs)
    return {"OMP_NUM_THREADS": str(threads)} | ({} if gpus is None else {"CUDA_VISIBLE_DEVICES": gpus})


def _named(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"
