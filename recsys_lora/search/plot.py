"""The plot of a search: every trial and the best so far, and beside it what mattered."""

import io

import optuna
from matplotlib.figure import Figure
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

_MOST_KEYS = 12
_FEWEST_TRIALS = 3
"""Finished trials below which importances are not computed."""


def importances(study: optuna.Study) -> dict[str, float]:
    """Return each parameter's share in being among the best tenth of the finished trials, largest first.

    Empty where fewer than three trials have finished, or all with one value.
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
    """Return the plot of a study as PNG.

    Args:
        study: with its trials.
        metric: what the values are.
    """
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
