"""Finished runs as a comparison reads them: their folders, their records, and which configuration each is."""

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
"""Kinds of values that make a configuration."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: its folder.
        metrics: its metrics.json.
        config: its whole config, in which nothing is resolved: a run may come from somebody else.
        environment: its environment.json.
        overrides: of its command line, as typed.
    """

    folder: Path
    metrics: Mapping[str, Any]
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    overrides: Sequence[str]

    @property
    def called(self) -> str:
        """What records call its folder: a sweep's job with the name of the sweep."""
        return folder_name(self.folder)

    def predictions(self, task: str) -> Path:
        """Return where its predictions of a task are."""
        return self.folder / file_name(task)

    @property
    def configuration(self) -> dict[str, str]:
        """What it is, whatever its seed: dotted config keys and their values as text."""
        return configuration(self.config, self.metrics)


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Return the run folders that paths name: run folders, or folders that hold some; each once.

    Raises:
        UserError: a path is not there, or no run is in it.
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
        Those that have finished, and the folders of those that have no results.

    Raises:
        UserError: none has finished, or something of one that has is missing.
    """
    folders = find_runs(paths)
    unfinished = [folder for folder in folders if not (folder / "metrics.json").is_file()]
    if len(unfinished) == len(folders):
        found = counted(len(folders), "run")
        raise UserError(f"{folders[0]}/metrics.json: not there: no run has finished its test ({found} found)")
    return [read_run(folder, typed) for folder in folders if folder not in unfinished], unfinished


def read_run(folder: Path, typed: bool = True) -> Run:
    """Read a run's folder, all but its predictions.

    Args:
        folder: the run's.
        typed: it has to have been started by a command; False also takes runs of `run_config`, without overrides.

    Raises:
        UserError: something of it is missing, or is not what a run writes.
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
    """Return what makes a run the configuration that it is, whatever its seed: dotted config keys and their values.

    These are the values that a stage uses which the run has: a CF model alone has no method, a frozen language model
    no encoder.
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
    """Return what records call a run's folder: without the machine's path, a sweep's job with the sweep's name."""
    name = folder.resolve()
    return f"{name.parent.name}/{name.name}" if name.name.isdigit() else name.name


def _is_run(folder: Path) -> bool:
    return any((folder / name).exists() for name in (_CONFIG, "metrics.json", _OVERRIDES))


def _below(folder: Path) -> Iterator[Path]:
    """Yield the run folders inside a folder, at any depth, but none inside a run."""
    for inside in folder.iterdir():
        if inside.is_dir() and not inside.is_symlink():
            if _is_run(inside):
                yield inside
            else:
                yield from _below(inside)


def _order(folder: Path) -> list[tuple[int, int, str]]:
    """Sort the jobs of a sweep by number, not by text."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in folder.parts]
