"""Hydra launchers, which start the jobs of a multirun; the implementations are in `recsys_lora.cli`."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class _ProcessLauncher(Launcher):
    """Runs every job in a new process, from the job's composed config.

    Args:
        settings: the settings in conf/hydra/launcher, checked when the jobs are started.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = {
            name: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            for name, value in settings.items()
        }
        self.hydra_context: HydraContext | None = None
        self.task_function: TaskFunction | None = None
        self.config: DictConfig | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store what Hydra passes to a launcher before the first job."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs and return after the last of them has ended.

        Args:
            job_overrides: overrides of each job.
            initial_job_idx: number of the first job.

        Returns:
            A result for each job, whose value is why it failed; None if it did not.

        Raises:
            UserError: a setting of the launcher has a wrong value.
        """
        from recsys_lora.cli.sweep_job import compose_jobs, returned

        assert self.hydra_context is not None
        assert self.task_function is not None
        assert self.config is not None
        seconds = self.training_seconds(len(job_overrides))
        jobs = compose_jobs(
            self.hydra_context, self.task_function, self.config, job_overrides, initial_job_idx, seconds
        )
        return [returned(job, reason) for job, reason in zip(jobs, self.run(jobs), strict=True)]

    def training_seconds(self, jobs: int) -> float | None:
        """Return the maximum training time of each of `jobs` jobs, in seconds; None: no limit."""
        return None

    @abstractmethod
    def run(self, jobs: Sequence[Any]) -> list[str | None]:
        """Run the jobs; return why each failed, None if it did not."""


class LocalLauncher(_ProcessLauncher):
    """Runs several jobs at once on this machine."""

    def training_seconds(self, jobs: int) -> float | None:
        """Divide the time limit of the sweep among its jobs, if there is one."""
        from recsys_lora.cli.deadline import Deadline
        from recsys_lora.cli.local import local_settings

        deadline = Deadline.of(vars(local_settings(self.settings)), jobs)
        return None if deadline is None else deadline.training_seconds

    def run(self, jobs: Sequence[Any]) -> list[str | None]:
        """Run the jobs as processes of this machine."""
        from recsys_lora.cli.local import run_side_by_side

        return run_side_by_side(jobs, self.settings)


class SlurmLauncher(_ProcessLauncher):
    """Runs the jobs as an array on a SLURM cluster."""

    def run(self, jobs: Sequence[Any]) -> list[str | None]:
        """Submit the jobs and wait for them."""
        from recsys_lora.cli.slurm import run_as_array

        return run_as_array(jobs, self.settings)
