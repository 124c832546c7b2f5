"""The table at the end of a multirun: one over all jobs, on the terminal and in `sweep.csv` and `sweep.md`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from recsys_lora.cli.hydra_errors import bypass_hydra
from recsys_lora.cli.jobs import jobs_of
from recsys_lora.cli.status import read_status

CSV_FILE, TABLE_FILE = "sweep.csv", "sweep.md"
UNFINISHED = "not finished"
CHECKPOINTS = ".ckpt"


@dataclass(frozen=True)
class Job:
    """One job of a sweep.

    Attributes:
        number: number in the sweep.
        overrides: those it was started with.
        metrics: its metrics.json; None if there is none.
        error: why it failed; None if it did not, or has not ended.
    """

    number: int
    overrides: Mapping[str, str]
    metrics: Mapping[str, Any] | None
    error: str | None = None


class SweepTable(Callback):
    """Hydra callback that compares the jobs of a multirun after the last one has ended."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write and print the table; then write an archive of the whole folder if the launcher is configured to."""
        from recsys_lora.utils.archive import write_archive
        from recsys_lora.utils.console import say

        with bypass_hydra():
            folder = Path(config.hydra.sweep.dir)
            publish(folder)
            if target := OmegaConf.select(config, "hydra.launcher.archive"):
                size = write_archive(Path(target), folder, CHECKPOINTS)
                say(f"{target}: all but checkpoints, {size / 2**20:.1f} MiB")


def publish(folder: Path) -> list[Job]:
    """Write `sweep.csv` and `sweep.md` into a sweep's folder and print the table.

    Returns:
        The jobs.
    """
    from recsys_lora.report.screen import readable
    from recsys_lora.report.table import markdown_table
    from recsys_lora.utils.console import console
    from recsys_lora.utils.files import write_text
    from recsys_lora.utils.words import counted

    jobs = read_jobs(folder)
    write_text(folder / CSV_FILE, as_csv(jobs))
    columns, lines = table(jobs)
    write_text(folder / TABLE_FILE, "\n".join(markdown_table(columns, lines)) + "\n")
    screen = console()
    screen.print(readable(f"{counted(len(jobs), 'job')}, in {folder}", columns, lines, screen.width))
    return jobs


def read_jobs(folder: Path) -> list[Job]:
    """Return the jobs of a sweep's folder, in order."""
    from recsys_lora.config.recorded import read_overrides
    from recsys_lora.report.metrics_json import read_metrics

    jobs: list[Job] = []
    for run in jobs_of(folder):
        status = read_status(run)
        path, overrides = run / "metrics.json", run / ".hydra" / "overrides.yaml"
        started = overrides.is_file()  # false if there was no time for it
        lines = read_overrides(overrides) if started else status and status.overrides
        given = [line.partition("=") for line in lines or []]
        metrics = read_metrics(path) if path.is_file() else None
        error = status.error if status else None
        overrides_given = {key.lstrip("+"): value for key, _, value in given}
        jobs.append(Job(len(jobs), overrides_given, None if error else metrics, error))
    return jobs


def table(jobs: Sequence[Job]) -> tuple[list[str], list[list[str]]]:
    """Return columns and lines: the overrides that differ between jobs, and each job's main metrics with intervals."""
    from recsys_lora.report.table import DASH, cell

    varied = varied_overrides(jobs)
    main = [main_metrics(job) for job in jobs]
    metrics = list(dict.fromkeys(name for found in main for name in found))
    lines = []
    for job, found in zip(jobs, main, strict=True):
        values = [cell(found[name]) if name in found else DASH for name in metrics]
        if job.metrics is None:
            state = f"failed: {job.error}" if job.error else UNFINISHED
            values = [state, *[""] * (len(metrics) - 1)]  # a table without metrics has just this column
        lines.append([str(job.number), *(job.overrides.get(key, DASH) for key in varied), *values])
    return ["job", *varied, *(metrics or ["result"])], lines


def varied_overrides(jobs: Sequence[Job]) -> list[str]:
    """Return the overrides that differ between jobs, in order of first appearance."""
    keys = dict.fromkeys(key for job in jobs for key in job.overrides)
    return [key for key in keys if len({job.overrides.get(key) for job in jobs}) > 1]


def main_metrics(job: Job) -> dict[str, Mapping[str, Any]]:
    """Return a job's metrics for the table, `{name: {"value", "interval"}}`: the first two of each task."""
    from recsys_lora.report.table import MAIN, method_line, shown

    if job.metrics is None:
        return {}
    found: dict[str, Mapping[str, Any]] = {}
    for name, block in job.metrics["tasks"].items():
        own = method_line(block)
        found |= {f"{name} {shown(metric)}": own["metrics"][metric] for metric in list(own["metrics"])[:MAIN]}
    return found


def as_csv(jobs: Sequence[Job]) -> str:
    """Return one line per job: all overrides, and every metric of the method on all, warm and cold rows."""
    from recsys_lora.utils.files import csv_text

    return csv_text([{"job": job.number, **job.overrides, **_every_metric(job)} for job in jobs])


def _every_metric(job: Job) -> dict[str, Any]:
    from recsys_lora.report.flat import flat_metrics

    if job.metrics is None:
        return {"status": "failed", "error": job.error} if job.error else {"status": UNFINISHED}
    return {"status": "finished", **flat_metrics(job.metrics)}
