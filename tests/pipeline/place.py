"""Jobs that share a cache, jobs that are killed in training, and the weights they leave."""

from pathlib import Path

import torch

from recsys_lora.methods.base import LLMRecommender
from tests.jobs import run


class Killed(BaseException):
    """What no code catches."""


def killed_at(step: int, monkeypatch, error: type[BaseException] = Killed) -> None:
    """Let training end with an error before a step, counted from 0."""
    original, steps = LLMRecommender.training_step, iter(range(10**6))

    def training_step(self, batch, batch_idx):
        if next(steps) == step:
            raise error
        return original(self, batch, batch_idx)

    monkeypatch.setattr(LLMRecommender, "training_step", training_step)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(value, right[name]) for name, value in left.items())


class Place:
    """A cache that the jobs of a file share.

    Args:
        folder: holds the cache in `home`, and the runs.
        base: overrides of all jobs that name no others.
        named: further ones, of all jobs.
    """

    def __init__(self, folder: Path, base: tuple[str, ...], named: tuple[str, ...]) -> None:
        self.folder, self.base, self.named, self.runs = folder, base, named, 0

    def run(self, *overrides: str, base: tuple[str, ...] | None = None):
        """Run a job in a new folder; returns (outcome, its folder)."""
        self.runs += 1
        folder = self.folder / "runs" / str(self.runs)
        return run(folder, *(self.base if base is None else base), *self.named, *overrides), folder

    def artifacts(self) -> dict[str, int]:
        """Return when each artifact was made, by its path below the cache."""
        root = self.folder / "home" / "artifacts"
        return {
            str(record.parent.relative_to(root)): record.stat().st_mtime_ns for record in root.glob("*/*/artifact.json")
        }

    def made_by(self, *overrides: str, base: tuple[str, ...] | None = None) -> list[str]:
        """Run a job; returns the artifacts that it made, without their keys."""
        before = self.artifacts()
        self.run(*overrides, base=base)
        made = {name for name, when in self.artifacts().items() if before.get(name) != when}
        return sorted(name.rsplit("-", 1)[0] for name in made)
