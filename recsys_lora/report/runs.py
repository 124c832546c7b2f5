"""Finished runs as a comparison reads them: their folders, their records, and which configuration each is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from recsys_lora.errors import UserError
from recsys_lora.files import read_json
from recsys_lora.report.metrics_json import read_metrics
from recsys_lora.tasks.predictions import file_name

ENVIRONMENT, CONFIG = "environment.json", "config.yaml"
OVERRIDES = Path(".hydra") / "overrides.yaml"
LABELS = ("seed", "name", "group", "tags")
NO_PART_OF_THE_CONFIGURATION = (*LABELS, "paths", "logger", "stage", "train", "test", "evaluation")
OF_THE_LANGUAGE_MODEL = ("llm", "lora", "first", "trainer", "callbacks", "data.train_rows", "data.valid_rows", "mixing")
DECIDING_CALLBACKS = {"checkpoint", "stop_early"}
"""The others watch and write."""
NO_MATTER = {"root", "folder", "enable_progress_bar", "enable_model_summary", "log_every_n_steps", "profiler"}
"""Last parts of keys whose values are places of the machine, or only change what is shown."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: its folder.
        metrics: its metrics.json.
        config: its whole config.
        environment: its environment.json.
        overrides: of its command line, as typed.
    """

    folder: Path
    metrics: Mapping[str, Any]
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    overrides: Sequence[str]

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


def read_run(folder: Path) -> Run:
    """Read a run's folder, all but its predictions.

    Raises:
        UserError: something of it is missing.
    """
    metrics = read_metrics(folder / "metrics.json")
    files: list[str | Path] = [*map(file_name, metrics["tasks"]), ENVIRONMENT, CONFIG, OVERRIDES]
    for name in files:
        if not (folder / name).is_file():
            raise UserError(f"{folder / name}: not there: run it again, or leave this run out")
    overrides = [str(line) for line in OmegaConf.to_container(OmegaConf.load(folder / OVERRIDES)) or []]
    config = OmegaConf.to_container(OmegaConf.load(folder / CONFIG), resolve=True)
    if not isinstance(config, dict):
        raise UserError(f"{folder / CONFIG}: holds no config: run it again, or leave this run out")
    named = {str(key): value for key, value in config.items()}
    return Run(folder, metrics, named, read_json(folder / ENVIRONMENT), overrides)


def configuration(config: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, str]:
    """Return a run's config as dotted keys and values, without its seed, its labels, and what cannot matter.

    Left out are places of the machine, how it was watched and evaluated, for a CF model alone all that is the language
    model's, and for a model without an encoder the encoder.
    """
    left_out = [*NO_PART_OF_THE_CONFIGURATION]
    if metrics["llm"] is None:
        left_out += OF_THE_LANGUAGE_MODEL
    if metrics["cf"] is None:
        left_out.append("cf")
    return {
        key: value
        for key, value in _flat(config)
        if not any(key == part or key.startswith(f"{part}.") for part in left_out)
        and key.rpartition(".")[2] not in NO_MATTER
        and (not key.startswith("callbacks.") or key.split(".")[1] in DECIDING_CALLBACKS)
    }


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and (value or not key):
        for name, part in value.items():
            yield from _flat(part, f"{key}.{name}" if key else str(name))
    else:
        yield key, "null" if value is None else str(value)


def _is_run(folder: Path) -> bool:
    return any((folder / name).exists() for name in (CONFIG, "metrics.json", OVERRIDES))


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
