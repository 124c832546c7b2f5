"""A search: each trial is a run of its own with test=false, judged by its best validation."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from hydra.utils import get_object
from omegaconf import DictConfig, open_dict
from optuna.trial import TrialState

from recsys_lora.config.edge import build, containers, read_run
from recsys_lora.config.record import RunConfig
from recsys_lora.config.roles import Kind, leaves
from recsys_lora.pipeline.job import Outcome, execute
from recsys_lora.search.pruning import reporting
from recsys_lora.search.result import publish
from recsys_lora.search.settings import SearchSettings
from recsys_lora.search.space import Space, check_space, chosen, read_space
from recsys_lora.search.study import ERROR, ended, open_study, state_of, storage_errors, trial_folder, write_record
from recsys_lora.utils.errors import UserError

_CF_METRIC = "valid/auc"
_WITH_EFFECT = (Kind.RESULT, Kind.COST, Kind.SOURCE)
"""Kinds of values that a trial's result may depend on."""
_UNTRAINED = frozenset({"test", "frozen", "report"})
"""Stages after a trial's result: a search tests nothing."""
log = logging.getLogger(__name__)


def search(cfg: DictConfig, folder: Path, choices: Mapping[str, Any]) -> optuna.Study:
    """Run the missing trials, and write their results: a table, a plot, the best one as an experiment.

    Args:
        cfg: the composed config, with its node `search`.
        folder: the study's.
        choices: the choice of each config group, as Hydra records it.

    Raises:
        UserError: the search is invalid, its folder holds another or is not writable, or too many trials in a row
            failed.
    """
    config = read_run(cfg)
    settings: SearchSettings = build(config.extra["search"], "search")
    space = read_space(settings.space)
    base = cfg.copy()
    with open_dict(base):
        del base["search"]
        base.test = False
        base.paths.run = str(folder)
        base.group = base.group or settings.study
    _check(config, settings)
    check_space(base, space)
    with storage_errors(folder):
        study = open_study(folder, settings, dict(_shared(base, settings, space)))
        trials = _Trials(study, settings, base, space, folder)
        try:
            trials.run()
        finally:
            publish(study, settings, cfg, space, choices, folder)
    return study


@dataclass(frozen=True)
class _Trials:
    """The trials of one command."""

    study: optuna.Study
    settings: SearchSettings
    base: DictConfig
    space: Space
    folder: Path

    def run(self) -> None:
        """Run the missing trials.

        Raises:
            UserError: too many in a row failed.
        """
        in_a_row = 0
        while (done := ended(self.study)) < self.settings.trials:
            log.info("trial %d of %d", done + 1, self.settings.trials)
            reason = self._one(self.study.ask())
            in_a_row = in_a_row + 1 if reason else 0
            if in_a_row == self.settings.max_failures:
                raise UserError(f"search: {in_a_row} trials in a row failed, the last with: {reason}")

    def _one(self, trial: optuna.Trial) -> str | None:
        """Run one trial; return why it failed, in one line, or None if it did not."""
        state, value, reason = TrialState.FAIL, None, None
        folder = trial_folder(self.folder, trial.number)
        try:
            config = self._config(trial, folder)
            with reporting(trial):
                value = _objective(execute(config, folder))
            state = TrialState.COMPLETE
        except optuna.TrialPruned:
            state = TrialState.PRUNED
        except UserError as error:
            reason = str(error)
        except Exception as error:  # whatever it is, the other trials go on
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            log.debug("trial %d", trial.number, exc_info=error)
        if reason:
            trial.set_user_attr(ERROR, reason)
        self.study.tell(trial, value, state)
        write_record(self.study, self.folder, trial.number)
        self._say(trial.number)
        return reason

    def _config(self, trial: optuna.Trial, folder: Path) -> RunConfig:
        values = {key: entry.suggest(trial, key) for key, entry in self.space.items()}
        shown = {key: f"{value:.3g}" if isinstance(value, float) else value for key, value in values.items()}
        log.info("trial-%d: %s", trial.number, " ".join(f"{key}={value}" for key, value in shown.items()))
        config = read_run(chosen(self.base, values)).at(str(folder))
        if not _is_method(config):
            return config
        reporter = {
            "_target_": "recsys_lora.search.pruning.ReportTrial",
            "monitor": self.settings.metric,
            "method": config.model["name"],
        }
        return replace(config, callbacks={**config.callbacks, "trial": reporter})

    def _say(self, number: int) -> None:
        trial = self.study.trials[number]
        state = state_of(self.study, trial)
        if state == "failed":
            log.warning("trial-%d failed: %s", number, trial.user_attrs[ERROR])
            return
        log.info("trial-%d %s: %s %.4f", number, state, self.settings.metric, trial.value)


def _objective(outcome: Outcome) -> float:
    """Return the best validation of a run; raise a `UserError` if there was none."""
    if outcome.method is None:
        assert outcome.collaborative is not None
        return outcome.collaborative.best["valid_auc"]
    if not outcome.method.training:
        raise UserError(f"model={outcome.method.module.name}: nothing of it is trained: there is nothing to search")
    best = outcome.method.training["best_valid"]
    if best is None:
        raise UserError("the training ended before its first validation: lower trainer.val_check_interval")
    return float(best)


def _check(config: RunConfig, settings: SearchSettings) -> None:
    """Refuse a search by another metric than the one that selects the weights a run tests."""
    if not config.train or config.ckpt_path:
        raise UserError("train=false and ckpt_path: a search trains each trial from its start: leave them out")
    if not _is_method(config):
        if settings.pruner != "none":
            raise UserError(
                f"search.pruner={settings.pruner}: fits of CF models are not pruned: set search.pruner=none"
            )
        monitor, mode, place = _CF_METRIC, "max", "a CF model"
    elif not (node := config.callbacks.get("checkpoint")):
        raise UserError("callbacks.checkpoint is left out: it chooses by validation: leave it in")
    else:
        monitor, mode, place = node["monitor"], node.get("mode", "max"), "callbacks.checkpoint.monitor"
    if settings.metric != monitor:
        raise UserError(f"search.metric={settings.metric}: weights are chosen by {monitor} ({place}): search by it")
    if settings.direction[:3] != mode:
        raise UserError(f"search.direction={settings.direction}: of {monitor} the {mode}imum is the best: set that")


def _is_method(config: RunConfig) -> bool:
    return bool(get_object(config.model["_target_"]).needs_backbone)


def _shared(base: DictConfig, settings: SearchSettings, space: Space) -> Iterator[tuple[str, str]]:
    """Yield the values that all trials share, by config key; interpolations unresolved."""
    yield "search.metric", settings.metric
    for key, entry in space.items():
        yield f"search.space.{key}", str(entry)
    for key, value in leaves(containers(base, resolve=False)):
        role = RunConfig.role_of(key)
        measured = role.stages and _UNTRAINED.issuperset(role.stages)
        if key not in space and role.kind in _WITH_EFFECT and not measured:
            yield key, str(value)
