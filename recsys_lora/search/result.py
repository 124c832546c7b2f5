"""The results of a search: a table of its trials, a plot of what mattered, the best trial as an experiment to run."""

import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from hydra import compose
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from recsys_lora.config.edge import containers
from recsys_lora.config.paths import GROUPS
from recsys_lora.config.record import RunConfig
from recsys_lora.config.roles import Kind, selected
from recsys_lora.search.settings import SearchSettings
from recsys_lora.search.space import Space, chosen
from recsys_lora.search.study import ERROR, state_of
from recsys_lora.utils.files import csv_text, write_bytes, write_text

_TABLE_FILE, _PLOT_FILE, _CONF = "trials.csv", "search.png", "conf"
_COMBINING = ("row", "experiment", "ablation", "hparams_search", "debug", "paths")
"""Groups whose choices bundle other choices and values, which the experiment names instead."""
_OF_A_RUN = (Kind.PLACE, Kind.CONTROL)
"""Kinds of values that the experiment leaves to whoever runs it."""
_MOST_KEYS = 12
_FEWEST_TRIALS = 3
"""With fewer finished trials, importances are not computed."""
log = logging.getLogger(__name__)


def importances(study: optuna.Study) -> dict[str, float]:
    """Return each parameter's share in being among the best tenth of the finished trials, largest first.

    Empty if fewer than three trials have finished, or all with the same value.
    Source: Watanabe, Bansal and Hutter, PED-ANOVA, IJCAI 2023, as optuna computes it.
    """
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(finished) < _FEWEST_TRIALS or len({trial.value for trial in finished}) == 1:
        return {}
    return optuna.importance.get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())


def best_so_far(study: optuna.Study) -> tuple[list[int], list[float]]:
    """Return the numbers of the finished trials, and the best value up to each."""
    better = max if study.direction is StudyDirection.MAXIMIZE else min
    numbers: list[int] = []
    values: list[float] = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        value = _value(trial)
        numbers.append(trial.number)
        values.append(better(values[-1], value) if values else value)
    return numbers, values


def png(study: optuna.Study, metric: str) -> bytes:
    """Return a plot of a study's trials as PNG; `metric` labels their values."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for state, colour, name in ((TrialState.COMPLETE, "C0", "finished"), (TrialState.PRUNED, "C7", "pruned")):
        trials = [t for t in study.get_trials(deepcopy=False, states=(state,)) if t.value is not None]
        if trials:
            left.scatter([t.number for t in trials], [_value(t) for t in trials], color=colour, label=name)
    left.step(*best_so_far(study), where="post", color="C1", label="best so far")
    left.set(xlabel="trial", ylabel=metric, title=study.study_name)
    left.xaxis.get_major_locator().set_params(integer=True)
    left.legend()
    found = list(importances(study).items())[:_MOST_KEYS][::-1]
    right.barh([key for key, _ in found], [share for _, share in found], color="C0")
    right.set(xlabel="share", title="what mattered (PED-ANOVA)" if found else "too few trials to say what mattered")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    return content.getvalue()


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value


def publish(
    study: optuna.Study,
    settings: SearchSettings,
    base: DictConfig,
    space: Space,
    choices: Mapping[str, Any],
    folder: Path,
) -> None:
    """Write the table and, once a trial has finished, the plot and the experiment; log where they are."""
    write_text(folder / _TABLE_FILE, _as_csv(study))
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return
    write_bytes(folder / _PLOT_FILE, png(study, settings.metric))
    best = study.best_trial
    values = {key: entry.suggest(optuna.trial.FixedTrial(best.params), key) for key, entry in space.items()}
    path = folder / _CONF / "experiment" / f"{settings.study}.yaml"
    shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    command = f"python -m recsys_lora.run --config-dir {shown / _CONF} experiment={settings.study}"
    notes = [_origin(study, settings), f"  {command}"]
    write_text(path, experiment(chosen(base, values), choices, notes))
    log.info("best: trial-%d, %s %.4f", best.number, settings.metric, study.best_value)
    log.info("%s and %s are in %s; with test rows:\n  %s", _TABLE_FILE, _PLOT_FILE, shown, command)


def _as_csv(study: optuna.Study) -> str:
    rows = []
    for trial in study.trials:
        seconds = round(trial.duration.total_seconds(), 1) if trial.duration else ""
        state = state_of(study, trial)
        row = {"trial": trial.number, "state": state, "value": trial.value, "seconds": seconds}
        row["validations"] = len(trial.intermediate_values)
        rows.append(row | trial.params | {"error": trial.user_attrs.get(ERROR, "")})
    return csv_text(rows)


def experiment(cfg: DictConfig, choices: Mapping[str, Any], notes: list[str]) -> str:
    """Return a yaml of the group `experiment` that composes to a config.

    Args:
        cfg: the config, interpolations unresolved.
        choices: the choice of each config group.
        notes: comment lines to begin with, without their `#`.
    """
    main = {group: choices[group] for group in GROUPS if choices.get(group) is not None and group not in _COMBINING}
    composed = compose("config", [f"{group}={_written(choice)}" for group, choice in main.items()], True)
    there = composed.hydra.runtime.choices
    inner = {
        key: choice
        for key, choice in choices.items()
        if key in there and there[key] != choice and key not in _COMBINING and not key.startswith("hydra/")
    }
    inner.pop("tuned", None)  # follows from data and cf
    if inner:
        composed = compose("config", [f"{key}={_written(choice)}" for key, choice in {**main, **inner}.items()])
    values = _difference(_container(cfg), _container(composed))
    defaults = [{f"override /{key}": choice} for key, choice in {**main, **inner}.items()]
    head = "".join(f"# {note}\n" for note in ("@package _global_", *notes))
    return head + OmegaConf.to_yaml(OmegaConf.create({"defaults": defaults, **values}))


def _difference(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values to merge into `there` to get `wanted`; keys that `wanted` lacks become null."""
    found: dict[str, Any] = {}
    for key, value in wanted.items():
        if isinstance(value, dict) and isinstance(there.get(key), dict):
            if inner := _difference(value, there[key]):
                found[key] = inner
        elif key not in there or there[key] != value:
            found[key] = value
    return found | {key: None for key in there if key not in wanted}


def _origin(study: optuna.Study, settings: SearchSettings) -> str:
    states = [state_of(study, trial) for trial in study.trials]
    counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return (
        f"The best of the study {settings.study}: trial-{study.best_trial.number}, {settings.metric}"
        f" {study.best_value:.6f} (validation; trials: {counted})."
    )


def _container(cfg: DictConfig) -> dict[str, Any]:
    made = {key: value for key, value in containers(cfg, resolve=False).items() if key not in ("search", "hydra")}
    return selected(made, lambda key: RunConfig.role_of(key).kind not in _OF_A_RUN)


def _written(choice: Any) -> str:
    return f"[{','.join(choice)}]" if OmegaConf.is_list(choice) else str(choice)
