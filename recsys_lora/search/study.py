"""The study of a search: its trials in an SQLite file, resumed where an earlier command left off."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from recsys_lora.search.settings import SearchSettings
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import write_json

_STORAGE, _RECORD = "study.db", "trial.json"
_SETTINGS, _KILLED, ERROR = "settings", "killed", "error"
"""User attributes: of a study, what its trials share and which were killed; of a trial, why it failed."""
log = logging.getLogger(__name__)


def open_study(folder: Path, settings: SearchSettings, shared: Mapping[str, str]) -> optuna.Study:
    """Begin or resume a study; a trial that was running when its process died is marked and repeated.

    Args:
        folder: holds the storage and the trials' folders; this process holds its lock, so no trial runs in another.
        settings: the search's settings.
        shared: values that all trials share, by config key.

    Raises:
        UserError: the study's trials have other shared values, or the folder holds another study.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    storage = f"sqlite:///{folder / _STORAGE}"
    known = optuna.get_all_study_names(storage)
    if known and settings.study not in known:
        raise UserError(f"{folder}: holds the study {known[0]}, not {settings.study}: choose another folder")
    study = optuna.create_study(
        study_name=settings.study,
        storage=storage,
        direction=settings.direction,
        pruner=_pruner(settings),
        load_if_exists=True,
    )
    study.sampler = _sampler(settings, len(study.get_trials(deepcopy=False)))
    _same_settings(study, folder, shared)
    _repeat_killed(study, folder)
    return study


@contextlib.contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Turn errors of a study's storage in a folder into one line.

    Raises:
        UserError: the file is damaged, or cannot be opened or written.
    """
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        reason = getattr(error, "orig", None) or getattr(error.__cause__, "orig", None) or error
        raise UserError(
            f"{folder / _STORAGE}: no study can be kept there ({str(reason).splitlines()[0]}): make room, or choose "
            "another folder by hydra.run.dir=FOLDER"
        ) from error


def ended(study: optuna.Study) -> int:
    """Return how many trials are finished, pruned or failed; killed ones do not count."""
    killed = set(study.user_attrs.get(_KILLED, []))
    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    return sum(trial.number not in killed for trial in study.get_trials(deepcopy=False, states=states))


def state_of(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> str:
    """Return a trial's state as shown to users: finished, pruned, failed, killed, running or waiting."""
    if trial.number in study.user_attrs.get(_KILLED, []):
        return "killed"
    names = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    return names.get(trial.state, trial.state.name.lower())


def trial_folder(folder: Path, number: int) -> Path:
    """Return the run folder of a trial."""
    return folder / f"trial-{number}"


def write_record(study: optuna.Study, folder: Path, number: int) -> None:
    """Record in a trial's folder how it ended."""
    trial = study.trials[number]
    record = {
        "study": study.study_name,
        "trial": number,
        "state": state_of(study, trial),
        "value": trial.value,
        "validations": {str(step): value for step, value in sorted(trial.intermediate_values.items())},
        "params": trial.params,
        "error": trial.user_attrs.get(ERROR),
    }
    write_json(trial_folder(folder, number) / _RECORD, record)


def _sampler(settings: SearchSettings, trials: int) -> optuna.samplers.BaseSampler:
    """Return the sampler; after a resume it has another seed, so as not to draw the first trials again."""
    seed = settings.seed + trials
    if settings.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(n_startup_trials=settings.startup_trials, seed=seed)


def _pruner(settings: SearchSettings) -> optuna.pruners.BasePruner:
    if settings.pruner == "none":
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(settings.startup_trials, settings.warmup_validations)


def _same_settings(study: optuna.Study, folder: Path, shared: Mapping[str, str]) -> None:
    before: dict[str, Any] | None = study.user_attrs.get(_SETTINGS)
    if before is None:
        study.set_user_attr(_SETTINGS, dict(shared))
        return
    if other := sorted(key for key in {*before, *shared} if before.get(key) != shared.get(key)):
        key = other[0]
        rest = f" and {len(other) - 1} more" if len(other) > 1 else ""
        raise UserError(
            f"{folder}: the study's trials have {key}={before.get(key)}, not {shared.get(key)}{rest}: give the same"
            " command, or search.study=NAME for a new study"
        )


def _repeat_killed(study: optuna.Study, folder: Path) -> None:
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.set_user_attr(_KILLED, [*study.user_attrs.get(_KILLED, []), trial.number])
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params, user_attrs={"repeats": trial.number})
        write_record(study, folder, trial.number)
        log.info("trial %d was killed: it is repeated", trial.number)
