"""The settings of a search: how many trials, which metric, which sampler and pruner."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from recsys_lora.utils.types import NonNegativeInt, PositiveInt


@dataclass(frozen=True)
class SearchSettings:
    """The node `search` of the config: flat, so that each setting is one short override (`search.trials=20`).

    Attributes:
        study: the name of the study, its folder and its experiment; trials under one name belong to one study.
        trials: how many are finished, pruned or failed when the search ends.
        metric: the validation metric to improve; for a method, the one that selects its checkpoint.
        direction: which direction is better.
        sampler: tpe learns from earlier trials (Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS
            2011); random does not.
        pruner: median ends a trial whose best validation so far is worse than the median of the others at the same
            validation (Golovin et al., Google Vizier, KDD 2017, section 3.2.2); none lets all continue.
        startup_trials: how many trials are drawn at random before tpe learns, and finish before any is pruned.
        warmup_validations: how many validations pass before a trial may be pruned.
        max_failures: how many failed trials in a row end the search.
        seed: seed of the sampler.
        space: config keys, nested or dotted, each with a list of choices or `{low, high, log, step}`.
    """

    study: str
    trials: PositiveInt
    metric: str
    direction: Literal["maximize", "minimize"]
    sampler: Literal["tpe", "random"]
    pruner: Literal["median", "none"]
    startup_trials: NonNegativeInt
    warmup_validations: NonNegativeInt
    max_failures: PositiveInt
    seed: NonNegativeInt
    space: Mapping[str, Any]
