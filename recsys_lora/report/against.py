"""Every row of a comparison less its baseline: paired differences, their intervals, and tests over users."""

from collections.abc import Sequence

import numpy as np

from recsys_lora.evaluation.bootstrap import Floats, draws_of, percentiles
from recsys_lora.evaluation.paired_tests import TestResult, holm, paired_t, user_differences, wilcoxon
from recsys_lora.evaluation.statistics import AUC, UAUC
from recsys_lora.metrics.ranking import Array
from recsys_lora.report.comparison_schema import Against, Gap, Tested

BOOTSTRAP_SEED = 0


def against(user: Array, label: Array, baseline: Floats, others: Sequence[Floats], draws: int) -> list[Against]:
    """Compare each set of scores with the baseline's, on the same rows.

    Args:
        user: (n,) ids.
        label: (n,) 0 or 1.
        baseline: (n,) its scores.
        others: (n,) each.
        draws: bootstrap draws over users, the same for all; 0 leaves intervals out.

    Returns:
        One a set, in their order: other minus baseline. Holm's correction goes over all of them, for each of the two
        tests by itself.
    """
    differences = [user_differences(user, label, scores, baseline) for scores in others]
    t = _corrected([paired_t(found) for found in differences])
    signed_rank = _corrected([wilcoxon(found) for found in differences])
    gaps = {kind: _gaps(kind, user, label, baseline, others, draws) for kind in (AUC, UAUC)}
    return [
        Against(
            users=len(differences[place]),
            auc=gaps[AUC][place],
            uauc=gaps[UAUC][place],
            t=t[place],
            wilcoxon=signed_rank[place],
        )
        for place in range(len(others))
    ]


def _gaps(
    kind: type[AUC] | type[UAUC], user: Array, label: Array, baseline: Floats, others: Sequence[Floats], draws: int
) -> list[Gap]:
    statistics = [kind("", user, label, scores) for scores in (baseline, *others)]
    base, *drawn = draws_of(statistics, user, draws, BOOTSTRAP_SEED)
    result = []
    for statistic, values in zip(statistics[1:], drawn, strict=True):
        own, of_base = statistic.value(), statistics[0].value()
        value = None if own is None or of_base is None else own - of_base
        low, high = percentiles(values - base)
        defined = value is not None and bool(np.isfinite([low, high]).all())
        result.append(Gap(value=value, interval=(low, high) if defined else None))
    return result


def _corrected(results: Sequence[TestResult]) -> list[Tested]:
    corrected = holm([result.p for result in results])
    return [
        Tested(statistic=result.statistic, p=result.p, p_holm=p_holm, reason=result.reason)
        for result, p_holm in zip(results, corrected, strict=True)
    ]
