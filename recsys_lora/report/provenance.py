"""The provenance of numbers: what a comparison records about each run behind it."""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from recsys_lora.report.comparison_schema import RunRecord
from recsys_lora.report.runs import Run
from recsys_lora.report.table import method_line

_ELSEWHERE = re.compile(
    r"(^|[=\[({,:'\"\s])(?:/|~/|(?:\.\./)+)(?:[^/\s,\])}'\"]+/)*([^/\s,\])}'\"]+)/?(?=$|[\s,\])}'\"])"
)


def run_record(run: Run) -> RunRecord:
    """Return how to reproduce a run, and its results."""
    environment = run.environment
    git: Mapping[str, Any] = environment["git"] or {}
    overrides = [portable(override) for override in run.overrides]
    return RunRecord(
        folder=run.called,
        seed=run.metrics["seed"],
        command=command_line("run", overrides),
        overrides=overrides,
        metrics={
            name: {metric: found["value"] for metric, found in method_line(block)["metrics"].items()}
            for name, block in run.metrics["tasks"].items()
        },
        started=environment["started"],
        commit=git.get("commit"),
        dirty=git.get("dirty"),
        device=_device(run),
        python=environment["python"],
        packages=environment["packages"],
    )


def command_line(command: str, arguments: Sequence[str]) -> str:
    """Return a command of this package as typed, without paths of the machine."""
    return shlex.join(["python", "-m", f"recsys_lora.{command}", *map(portable, arguments)])


def portable(text: str) -> str:
    """Return an argument with paths outside the working folder cut to their last part: `data.root=.../ml-1m`."""
    return _ELSEWHERE.sub(r"\1.../\2", text)


def _device(run: Run) -> str:
    """Return the accelerator that the run could use, or the processor and its threads."""
    hardware = run.environment["hardware"]
    asked: object = run.config
    for key in ("trainer",) if run.metrics["llm"] else ("cf", "trainer"):
        asked = asked.get(key) if isinstance(asked, Mapping) else None
    on_cpu = isinstance(asked, Mapping) and asked.get("accelerator") == "cpu"
    if hardware["gpus"] and not on_cpu:
        return ", ".join(hardware["gpus"])
    return f"{hardware['processor']}, {hardware['threads']} threads"
