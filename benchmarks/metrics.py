"""UAUC and NDCG of millions of rows: this package's metrics against a loop over users and torchmetrics.

    python benchmarks/metrics.py                            # 5 M rows of 100,000 users
    python benchmarks/metrics.py --users 20000 --subset 500 --rounds 5 --json metrics.json

Compared in turn, in one process:

    this package   `recsys_lora.evaluation.ranking`, on all rows
    scikit-learn   `roc_auc_score` or `ndcg_score`, a user at a time
    torchmetrics   `RetrievalAUROC` or `RetrievalNormalizedDCG`, updated once with all rows

The last two run on `--subset` users only; their times are scaled to all. It first checks that all give the same mean on
these users. Users have 50 rows each, and all scores differ. UAUC gets rows in random order; NDCG gets the table
(users, 50), as in tasks with candidates. The ratio is a case's time over this package's, in the same round. Peak memory
is that of NumPy, in addition to what was there before.
"""

import argparse
import tracemalloc
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import _table
import _timing
from _table import Aim, Row
from _timing import OURS, Step

SKLEARN, TORCHMETRICS = "scikit-learn, a user at a time", "torchmetrics retrieval"
AIMS = {SKLEARN: Aim(50), TORCHMETRICS: Aim(50)}
ROWS_EACH, K = 50, 10
TOLERANCE = 1e-5
"""torchmetrics computes in float32."""


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = _timing.parser(__doc__, rounds=3)
    parser.add_argument("--users", type=int, default=100_000, help=f"with {ROWS_EACH} rows each")
    parser.add_argument("--subset", type=int, default=500, help="users that the others are timed on")
    options = parser.parse_args(argv)
    options.subset = min(options.subset, options.users)
    return options


@dataclass(frozen=True)
class Table:
    """Synthetic predictions.

    Attributes:
        score: (users, 50) float64, all different.
        label: (users, 50) 0 or 1, both for every user.
    """

    score: Any
    label: Any

    def first(self, users: int) -> "Table":
        """Return the first users only."""
        return Table(self.score[:users], self.label[:users])

    def rows(self) -> tuple[Any, Any, Any]:
        """Return (user, label, score) of all rows, (n,) each, in random order."""
        import numpy as np

        order = np.random.default_rng(1).permutation(self.score.size)
        user = np.repeat(np.arange(len(self.score)), self.score.shape[1])
        return user[order], self.label.ravel()[order], self.score.ravel()[order]


def make_table(users: int) -> Table:
    """Return scores that are weakly correlated with the labels."""
    import numpy as np

    random = np.random.default_rng(0)
    label = (random.random((users, ROWS_EACH)) < 0.3).astype(np.int64)
    label[:, 0], label[:, 1] = 0, 1
    # In steps that float32 can distinguish within a user, as torchmetrics casts to it.
    score = np.argsort(random.normal(label * 0.5), axis=1).argsort(axis=1) / ROWS_EACH
    return Table(score.astype(np.float64), label)


def uauc_steps(table: Table, subset: int) -> dict[str, Step]:
    """Return the steps that compute the mean AUC over all users, or over a subset."""
    import numpy as np
    import torch
    from sklearn.metrics import roc_auc_score
    from torchmetrics.retrieval import RetrievalAUROC

    from recsys_lora.evaluation.ranking import uauc

    whole, some = table.rows(), table.first(subset).rows()

    def sklearn() -> float:
        user, label, score = some
        order = np.argsort(user, kind="stable")
        ends = np.flatnonzero(np.diff(user[order])) + 1
        parts = zip(np.split(label[order], ends), np.split(score[order], ends), strict=True)
        return float(np.mean([roc_auc_score(own, its) for own, its in parts]))

    def retrieval() -> float:
        metric = RetrievalAUROC()
        user, label, score = map(torch.from_numpy, some)
        metric.update(score, label, indexes=user)
        return float(metric.compute())

    _check("UAUC", uauc(*some)[0], sklearn(), retrieval())
    return {OURS: lambda: uauc(*whole), SKLEARN: sklearn, TORCHMETRICS: retrieval}


def ndcg_steps(table: Table, subset: int) -> dict[str, Step]:
    """Return the steps that compute the mean NDCG@10 over all users, or over a subset."""
    import numpy as np
    import torch
    from sklearn.metrics import ndcg_score
    from torchmetrics.retrieval import RetrievalNormalizedDCG

    from recsys_lora.evaluation.ranking import ndcg_at

    some = table.first(subset)

    def ours(part: Table) -> float:
        return float(np.nanmean(ndcg_at(part.score, part.label, K)))

    def sklearn() -> float:
        pairs = zip(some.label, some.score, strict=True)
        return float(np.mean([ndcg_score(label[None], score[None], k=K) for label, score in pairs]))

    def retrieval() -> float:
        metric = RetrievalNormalizedDCG(top_k=K)
        user = torch.arange(len(some.score)).repeat_interleave(some.score.shape[1])
        score, label = (torch.from_numpy(part).flatten() for part in (some.score, some.label))
        metric.update(score, label, indexes=user)
        return float(metric.compute())

    _check("NDCG", ours(some), sklearn(), retrieval())
    return {OURS: lambda: ours(table), SKLEARN: sklearn, TORCHMETRICS: retrieval}


def _check(name: str, ours: float, sklearn: float, retrieval: float) -> None:
    """Exit if the three numbers are not equal."""
    for case, theirs in ((SKLEARN, sklearn), (TORCHMETRICS, retrieval)):
        _timing.same(ours, theirs, TOLERANCE, f"{name}, {case}")


def numpy_peak(step: Step) -> float:
    """Return the peak MiB held by NumPy and Python in a step, in addition to what was there before."""
    tracemalloc.start()
    try:
        step()
        return tracemalloc.get_traced_memory()[1] / _timing.MIB
    finally:
        tracemalloc.stop()


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Measure and print."""
    options = arguments(argv)
    _timing.use_threads(options)
    warnings.filterwarnings("ignore", message="Metric `Retrieval.*` will save all targets")
    table = make_table(options.users)
    scale = dict.fromkeys((SKLEARN, TORCHMETRICS), options.users / options.subset)
    rows = []
    for name, make in (("UAUC", uauc_steps), (f"NDCG@{K}", ndcg_steps)):
        steps = make(table, options.subset)
        for row in _timing.compared(_timing.in_turn(steps, options), OURS, AIMS, scale, name):
            if row.case == OURS:
                rows.append(row if options.no_memory else replace(row, peak_mib=numpy_peak(steps[OURS])))
            else:
                rows.append(replace(row, note=f"{options.subset:,} of {options.users:,} users, scaled"))
    shapes = {"rows": f"{table.score.size:,}", "users": f"{options.users:,}", "dtype": "float64"}
    packages = ("numpy", "scikit-learn", "torchmetrics", "torch")
    _table.report(rows, _table.environment(options, packages, **shapes), options)
    return rows


if __name__ == "__main__":
    main()
