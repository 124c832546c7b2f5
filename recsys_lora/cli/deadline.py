"""The minutes of a whole sweep, shared out so that each of its jobs trains for a while and still reaches its table."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf

MAX_TIME = "trainer.max_time"


@dataclass(frozen=True)
class Deadline:
    """When a sweep has to have ended.

    Attributes:
        minutes: from now on.
        turns: how many jobs follow each other on one place.
        training_share: of a job's turn that it trains, at most; the rest is for data, encoder, scoring and report.
        begun: when, by the monotonic clock.
    """

    minutes: float
    turns: int
    training_share: float
    begun: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, settings: Mapping[str, Any], jobs: int) -> "Deadline | None":
        """Return that of a sweep by what conf/hydra/launcher/local.yaml says; None where it says none."""
        if settings.get("minutes") is None:
            return None
        turns = max(1, math.ceil(jobs / settings["jobs"]))
        return cls(settings["minutes"], turns, settings["training_share"])

    @property
    def training_seconds(self) -> float:
        """How long a job trains at most; the same for all, and for the same command again."""
        return 60 * self.minutes / self.turns * self.training_share

    def left(self) -> float:
        """Return how many seconds are left."""
        return self.begun + 60 * self.minutes - time.monotonic()


def limit_training(config: DictConfig, seconds: float) -> None:
    """Let a job's training end after so many seconds, a stage of several after its part, unless it says when itself."""
    if "trainer" not in config or OmegaConf.select(config, MAX_TIME) is not None:
        return
    stages = 1 if config.get("first") is None else 2
    OmegaConf.update(config, MAX_TIME, days_to_seconds(seconds / stages))


def days_to_seconds(seconds: float) -> str:
    """Write a time as Lightning reads it, DD:HH:MM:SS, a second at least."""
    whole = max(1, int(seconds))
    return f"{whole // 86400:02d}:{whole // 3600 % 24:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"
