"""Rows of a comparison minus its baseline: paired differences, their intervals, and tests over users."""

from collections.abc import Mapping, Sequence

import numpy as np

from recsys_lora.evaluation.bootstrap import Array, Statistic, draws_of, percentiles
from recsys_lora.evaluation.paired_tests import TestResult, holm, paired_t, user_differences, wilcoxon
from recsys_lora.report.comparison_numbers import Against, Gap, Tested

_BOOTSTRAP_SEED = 0


def against(
    user: Array, baseline: Sequence[Statistic], others: Mapping[str, Sequence[Statistic]], draws: int
) -> dict[str, Against]:
    """Compare each row's metrics with the baseline's, on the same questions.

    Args:
        user: (n,) user of each question.
        baseline: its metrics.
        others: those of the other rows by label, in the same order.
        draws: bootstrap draws over users, the same for all rows; 0: no intervals.

    Returns:
        One entry per row: row minus baseline. The tests use the first metric that is a mean over users; Holm's
        correction is over all rows, separately for each of the two tests.
    """
    tested = next(place for place, one in enumerate(baseline) if one.by_user() is not None)
    differences = [user_differences(own[tested], baseline[tested]) for own in others.values()]
    t = _corrected([paired_t(found) for found in differences])
    signed_rank = _corrected([wilcoxon(found) for found in differences])
    found = gaps(user, [baseline, *others.values()], draws)
    return {
        label: Against(
            gaps=found[place],
            tested=baseline[tested].name,
            users=len(differences[place]),
            t=t[place],
            wilcoxon=signed_rank[place],
        )
        for place, label in enumerate(others)
    }


def gaps(user: Array, rows: Sequence[Sequence[Statistic]], draws: int) -> list[dict[str, Gap]]:
    """Return each further row's metrics minus the first row's, by name, without those that cannot be split by users.

    Args:
        user: (n,) user of each question.
        rows: each row's metrics, the same ones in the same order.
        draws: bootstrap draws over users; 0: no intervals.
    """
    drawn = iter(draws_of([one for own in rows for one in own], user, draws, _BOOTSTRAP_SEED))
    base, *others = [[(one, next(drawn)) for one in own] for own in rows]
    result = []
    for own in others:
        found = {}
        for (statistic, values), (of_base, base_values) in zip(own, base, strict=True):
            if not len(statistic.users):
                continue
            ours, theirs = statistic.value(), of_base.value()
            value = None if ours is None or theirs is None else ours - theirs
            low, high = percentiles(values - base_values)
            defined = value is not None and bool(np.isfinite([low, high]).all())
            found[statistic.name] = Gap(value=value, interval=(low, high) if defined else None)
        result.append(found)
    return result


def _corrected(results: Sequence[TestResult]) -> list[Tested]:
    corrected = holm([result.p for result in results])
    return [
        Tested(statistic=result.statistic, p=result.p, p_holm=p_holm, reason=result.reason)
        for result, p_holm in zip(results, corrected, strict=True)
    ]
