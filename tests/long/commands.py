"""Commands as processes: started, ended from outside, and brought to their end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.jobs import NO_METHOD, SMALL, SMALL_TASKS
from tests.pipeline.test_kill import nobody_left, numbers

PLAIN = ("evaluation.zero_shot=false", "evaluation.stack=false", "evaluation.shuffled_rows=0")
LONGER = (*PLAIN, "trainer.max_epochs=4", "trainer.val_check_interval=1.0", "cf.trainer.max_epochs=10")
"""A few seconds for every stage, so that a random moment may fall into any of them."""
LORA = (*NO_METHOD, "model.batch_size=8", "model.rank=4", *LONGER)
CORA = (*SMALL, *LONGER)
COMMANDS: dict[str, tuple[str, ...]] = {
    "cora": CORA,
    "ckf": (*SMALL_TASKS, *LONGER),
    "collm": (*LORA, "model=collm", "cf=lightgcn"),
    "tallrec": (*LORA, "model=tallrec"),
    "mf alone": (*NO_METHOD, "row=mf", "cf.trainer.max_epochs=10"),
    "cora on two processes": (*CORA, "trainer=ddp_sim"),
    "cora_tuned": (*CORA, "model=cora_tuned", "cf=mf"),
    "cora_tuned on two processes": (*CORA, "model=cora_tuned", "cf=mf", "trainer=ddp_sim"),
    "a sweep of tallrec": ("-m", *LORA, "model=tallrec", "seed=1,2"),
}
PATIENCE = 900


class Command:
    """One command line in a folder of its own.

    Args:
        place: the folder, which is made; the runs are in it, and the cache.
        overrides: of the command line.
    """

    def __init__(self, place: Path, overrides: Sequence[str]) -> None:
        place.mkdir()
        self.place, self.home = place, place / "home"
        self.line = [sys.executable, "-m", "recsys_lora.run", *overrides, "hydra.job_logging.root.level=INFO"]

    def start(self, before: Callable[[], None] | None = None, **variables: str) -> subprocess.Popen[str]:
        """Start it; `before` is called in the new process."""
        environment = {**os.environ, "RECSYS_LORA_HOME": str(self.home), **variables}
        with (self.place / "said.txt").open("w") as said:
            return subprocess.Popen(
                self.line, cwd=self.place, env=environment, stdout=said, stderr=said, text=True, preexec_fn=before
            )

    def said(self) -> str:
        """Return what the last start printed."""
        return (self.place / "said.txt").read_text(errors="replace")

    def finish(self, before: Callable[[], None] | None = None, **variables: str) -> int:
        """Start it and wait for its end; returns the exit status."""
        process = self.start(before, **variables)
        try:
            return process.wait(timeout=PATIENCE)
        finally:
            process.kill()
            process.wait()

    def end(self, number: signal.Signals, seconds: float) -> int | None:
        """Start it and send a signal after some seconds; returns the exit status, None where it ended before."""
        process = self.start()
        try:
            process.wait(timeout=seconds)
            return None
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            return process.wait(timeout=60)
        finally:
            process.kill()
            process.wait()

    def results(self) -> list[dict[str, Any]]:
        """Return the numbers of its runs, in order, without times."""
        found = sorted(self.place.glob("runs/**/metrics.json"))
        return [_numbers(json.loads(path.read_text())) for path in found]

    def left(self) -> list[str]:
        """Return what should not be there once it has ended: half-made files, and processes."""
        half = [str(path.relative_to(self.place)) for path in self.place.rglob(".*.tmp")]
        return half if nobody_left(self.place) else [*half, "a process"]


def _numbers(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return numbers({**metrics, "training": metrics["training"] or {}})


def timed(command: Command) -> float:
    """Run a command to its end; returns the seconds."""
    begun = time.monotonic()
    status = command.finish()
    if status:
        raise RuntimeError(f"{' '.join(command.line)}: exit status {status}: {command.said()[-500:]}")
    return time.monotonic() - begun
