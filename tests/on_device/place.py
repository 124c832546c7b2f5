"""Where the checks work: small tables and a backbone of their own, a fresh cache, and one way to run a job."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import torch

from recsys_lora.llm.tiny import TinySource
from recsys_lora.pipeline.logging_setup import quiet_libraries
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import home
from tests.jobs import NO_METHOD, SMALL, SMALL_TASKS, method_of, own_tables, run, with_reviews, write_tables

TINY = "tiny"
FETCHED = ("assets", "backbones")
"""What a cache holds of backbones."""


ANEW = "stage.force=[method,test]"
"""Train and score although another check has: the cache keys both by what they are, whatever computed them."""


class SkipError(Exception):
    """A check has nothing to run on here; says why."""


class CheckError(Exception):
    """A check ran and came to something else than it should have."""


@dataclass(frozen=True)
class Place:
    """A folder with all that the checks share.

    Attributes:
        folder: everything is written below it.
        device: cuda or cpu.
        llm: tiny, a group of conf/llm, or a folder or GGUF file with a backbone.
    """

    folder: Path
    device: str
    llm: str

    def enter(self) -> None:
        """Make the cache of this process and of those it starts a fresh one, which knows the fetched backbones."""
        own, before = self.folder / "home", home()
        own.mkdir(parents=True)
        for name in FETCHED:
            if (before / name).is_dir():
                (own / name).symlink_to(before / name, target_is_directory=True)
        os.environ["RECSYS_LORA_HOME"] = str(own)
        quiet_libraries()

    @cached_property
    def tables(self) -> tuple[str, ...]:
        """Overrides that name ratings and items."""
        return write_tables(self.folder / "plain", *own_tables())

    @cached_property
    def reviewed(self) -> tuple[str, ...]:
        """The same with reviews."""
        interactions, items = own_tables()
        return write_tables(self.folder / "reviewed", with_reviews(interactions), items)

    @cached_property
    def backbone(self) -> tuple[str, ...]:
        """Overrides that choose the backbone; the tiny one is a folder, as any of a person's own."""
        if self.llm.endswith(".gguf"):
            return ("llm=gguf", f"llm.path={self.llm}")
        path = Path(self.llm)
        if self.llm == TINY:
            path = self.folder / TINY
            made = TinySource().load([f"Thing {number}" for number in range(30)], "cpu")
            made.model.save_pretrained(path)
            made.tokenizer.save_pretrained(path)
        return ("llm=folder", f"llm.path={path}") if path.is_dir() else (f"llm={self.llm}",)

    def overrides(self, *own: str, settings: Sequence[str] = NO_METHOD, device: str | None = None) -> list[str]:
        """Return the command line of a small job.

        Args:
            own: what is particular to it; the last word on a knob counts.
            settings: how small it is.
            device: where it trains; None: where the checks do.
        """
        trainer = "trainer=gpu" if (device or self.device) == "cuda" else "trainer=cpu"
        small = [line for line in settings if not line.startswith("llm")]
        tables = self.reviewed if settings is SMALL_TASKS else self.tables
        return [*small, *tables, *self.backbone, "evaluation.zero_shot=false", ANEW, trainer, *own]

    def run(self, name: str, *own: str, settings: Sequence[str] = NO_METHOD, device: str | None = None) -> Any:
        """Run a job in this process; returns its outcome."""
        return run(self.folder / name, *self.overrides(*own, settings=settings, device=device))

    def cora(self, name: str, *own: str, device: str | None = None) -> Any:
        """Run a small CoRA on MF."""
        return self.run(name, "row=cora_mf", *own, settings=SMALL, device=device)

    def scores(self, name: str) -> torch.Tensor:
        """Return the finite scores of a job's test rows, in an order that all jobs share.

        Raises:
            CheckError: one is not finite.
        """
        rows = pl.read_parquet(self.folder / name / "predictions_ctr.parquet").sort("user_id", "item_id")
        scores = torch.tensor(rows["score"].to_list(), dtype=torch.float64)
        if not bool(scores.isfinite().all()):
            raise CheckError(f"{int((~scores.isfinite()).sum())} of {len(scores)} scores are not finite")
        return scores


def placed(outcome: Any, device: str) -> str:
    """Say how a job ended, after a check that what it trained and its backbone are on the device.

    Raises:
        CheckError: they are not.
    """
    if outcome.method is not None:
        module = outcome.method.module
        parts = [*module.backbone.model.parameters(), *(part for part in module.parameters() if part.requires_grad)]
        kinds = {part.device.type for part in parts}
        if kinds != {device}:
            raise CheckError(f"the method is on {', '.join(sorted(kinds))}")
    return f"AUC {method_of(outcome.metrics)['auc']:.3f}"


def near(found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> str:
    """Compare scores; returns how far apart they are at most, as a share of the largest.

    Raises:
        CheckError: further than `tolerance`.
    """
    share = float((found - expected).abs().max() / expected.abs().max())
    said = f"scores differ by {share:.1e} of the largest at most, allowed {tolerance:.0e}"
    if not share <= tolerance:
        raise CheckError(said)
    return said


def refused(error: UserError, *words: str) -> str:
    """Return the line of a refusal.

    Raises:
        CheckError: it is about something else.
    """
    if not all(word in str(error) for word in words):
        raise CheckError(f"refused, but not for {words[0]}: {error}")
    return f"refused: {error}"
