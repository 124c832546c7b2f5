"""Finished runs as a comparison reads them: their folders, records and configurations."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys_lora.config.record import RunConfig
from recsys_lora.config.recorded import read_overrides, read_recorded
from recsys_lora.config.roles import Kind, leaves
from recsys_lora.report.environment import read_environment
from recsys_lora.report.metrics_json import read_metrics
from recsys_lora.tasks.predictions import file_name
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.words import counted

_ENVIRONMENT, _CONFIG = "environment.json", "config.yaml"
_OVERRIDES = Path(".hydra") / "overrides.yaml"
_COMPARED = (Kind.RESULT, Kind.COST)
"""Kinds of values that define a configuration."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: its folder.
        metrics: its metrics.json.
        config: its whole config, unresolved because a run may come from somebody else.
        environment: its environment.json.
        overrides: overrides of its command line, as typed.
    """

    folder: Path
    metrics: Mapping[str, Any]
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    overrides: Sequence[str]

    @property
    def called(self) -> str:
        """Name of its folder in records; for a job of a sweep, with the sweep's name."""
        return folder_name(self.folder)

    def predictions(self, task: str) -> Path:
        """Return the path of its predictions of a task."""
        return self.folder / file_name(task)

    @property
    def configuration(self) -> dict[str, str]:
        """Its configuration apart from the seed: dotted config keys and their values as text."""
        return configuration(self.config, self.metrics)


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Return the run folders that paths name directly or contain, each once.

    Raises:
        UserError: a path does not exist, or contains no run.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.is_dir():
            raise UserError(f"{path}: no such folder: give run folders, or folders that hold runs")
        inside = [path] if _is_run(path) else sorted(_below(path), key=_order)
        if not inside:
            raise UserError(f"{path}: no run is in it: give run folders, or folders that hold runs")
        for folder in inside:
            found.setdefault(folder.resolve(), folder)
    return list(found.values())


def read_finished(paths: Sequence[Path], typed: bool = True) -> tuple[list[Run], list[Path]]:
    """Read the runs that paths name; `typed` as for `read_run`.

    Returns:
        The finished runs, and the folders of those without results.

    Raises:
        UserError: no run has finished, or a file of a finished one is missing.
    """
    folders = find_runs(paths)
    unfinished = [folder for folder in folders if not (folder / "metrics.json").is_file()]
    if len(unfinished) == len(folders):
        found = counted(len(folders), "run")
        raise UserError(f"{folders[0]}/metrics.json: not there: no run has finished its test ({found} found)")
    return [read_run(folder, typed) for folder in folders if folder not in unfinished], unfinished


def read_run(folder: Path, typed: bool = True) -> Run:
    """Read a run's folder, without its predictions.

    Args:
        folder: the folder of the run.
        typed: require a run started by a command; False also accepts runs of `run_config`, without overrides.

    Raises:
        UserError: a file is missing, or is not one that a run writes.
    """
    metrics = read_metrics(folder / "metrics.json")
    files: list[str | Path] = [
        *map(file_name, metrics["tasks"]),
        _ENVIRONMENT,
        _CONFIG,
        *([_OVERRIDES] if typed else []),
    ]
    for name in files:
        if not (folder / name).is_file():
            raise UserError(f"{folder / name}: not there: run it again, or leave this run out")
    overrides = read_overrides(folder / _OVERRIDES) if (folder / _OVERRIDES).is_file() else []
    return Run(folder, metrics, read_recorded(folder / _CONFIG), read_environment(folder / _ENVIRONMENT), overrides)


def configuration(config: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, str]:
    """Return a run's configuration apart from the seed: dotted config keys and their values as text.

    Only values used by a stage of the run are included: a CF model alone has no method, a frozen language model no
    encoder.
    """
    stages = {"prepare", "test"}
    if metrics["llm"] is not None:
        stages.add("method")
    if metrics["cf"] is not None:
        stages.add("cf")

    def matters(key: str) -> bool:
        role = RunConfig.role_of(key)
        return key != "seed" and role.kind in _COMPARED and bool(stages & set(role.stages))

    return {key: "null" if value is None else str(value) for key, value in leaves(config) if matters(key)}


def folder_name(folder: Path) -> str:
    """Return a run folder's name in records: without its path; for a job of a sweep, with the sweep's name."""
    name = folder.resolve()
    return f"{name.parent.name}/{name.name}" if name.name.isdigit() else name.name


def _is_run(folder: Path) -> bool:
    return any((folder / name).exists() for name in (_CONFIG, "metrics.json", _OVERRIDES))


def _below(folder: Path) -> Iterator[Path]:
    """Yield the run folders inside a folder, at any depth, but not those inside a run."""
    for inside in folder.iterdir():
        if inside.is_dir() and not inside.is_symlink():
            if _is_run(inside):
                yield inside
            else:
                yield from _below(inside)


def _order(folder: Path) -> list[tuple[int, int, str]]:
    """Return the sort key that orders a sweep's jobs by number."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in folder.parts]
