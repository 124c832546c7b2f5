"""The time limit of a whole sweep, divided so that each of its jobs trains for a while and still reaches its table."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf

MAX_TIME = "trainer.max_time"


@dataclass(frozen=True)
class Deadline:
    """The time by which a sweep must end.

    Attributes:
        minutes: time limit, counted from `begun`.
        turns: number of jobs that run one after another in a slot.
        training_share: maximum fraction of a job's turn for training, beside data, encoder, scoring and report.
        begun: start time on the monotonic clock.
    """

    minutes: float
    turns: int
    training_share: float
    begun: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, settings: Mapping[str, Any], jobs: int) -> "Deadline | None":
        """Return the deadline set by the settings of conf/hydra/launcher/local.yaml; None if they set none."""
        if settings.get("minutes") is None:
            return None
        turns = max(1, math.ceil(jobs / settings["jobs"]))
        return cls(settings["minutes"], turns, settings["training_share"])

    @property
    def training_seconds(self) -> float:
        """Maximum training time of a job; the same for all jobs, and when the command is repeated."""
        return 60 * self.minutes / self.turns * self.training_share

    def left(self) -> float:
        """Return the number of seconds left."""
        return self.begun + 60 * self.minutes - time.monotonic()


def limit_training(config: DictConfig, seconds: float) -> None:
    """Limit a job's training to `seconds`, divided evenly among its stages, unless the job sets its own limit."""
    if "trainer" not in config or OmegaConf.select(config, MAX_TIME) is not None:
        return
    stages = 1 if config.get("first") is None else 2
    OmegaConf.update(config, MAX_TIME, days_to_seconds(seconds / stages))


def days_to_seconds(seconds: float) -> str:
    """Format a time for Lightning, as DD:HH:MM:SS, at least one second."""
    whole = max(1, int(seconds))
    return f"{whole // 86400:02d}:{whole // 3600 % 24:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"
