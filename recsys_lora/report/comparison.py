"""Runs become the rows of one table: one a configuration, over its seeds, all tested on the same rows."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import polars as pl

from recsys_lora.errors import UserError
from recsys_lora.evaluation.warmth import Definition
from recsys_lora.report.against import against
from recsys_lora.report.comparison_schema import Comparison, Cost, Number, Part, Row
from recsys_lora.report.labels import Named, named
from recsys_lora.report.provenance import run_record
from recsys_lora.report.published import published
from recsys_lora.report.runs import Run, find_runs, read_run
from recsys_lora.report.same_rows import averaged, read_scores, refuse_other_rows


def compare(
    paths: Sequence[Path],
    command: str,
    baseline: str | None = None,
    draws: int = 1000,
    warm: Definition = "seen",
) -> Comparison:
    """Compare finished runs.

    Args:
        paths: run folders, or folders that hold runs.
        command: what asks for it, for the record.
        baseline: label of the row that the others are compared with, or the folder of one of its runs; None leaves
            tests out.
        draws: bootstrap draws over users for the intervals of these differences.
        warm: the definition of warm and cold rows.

    Raises:
        UserError: a folder holds no finished run, two runs were not tested on the same rows, or no row is the
            baseline.
    """
    runs = [read_run(folder) for folder in find_runs(paths)]
    scores = [read_scores(run.predictions) for run in runs]
    refuse_other_rows(runs, scores)
    groups = grouped(runs)
    rows = [
        _row(name, [runs[place] for place in group], warm)
        for name, group in zip(named([runs[group[0]] for group in groups]), groups, strict=True)
    ]
    if baseline is not None:
        base = _place(rows, baseline)
        baseline = rows[base].label
        rows = _with_tests(rows, base, [[scores[place] for place in group] for group in groups], draws)
    test = runs[0].metrics["test"]
    return Comparison(
        command=command,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        data=runs[0].metrics["data"],
        test_rows=test["rows"],
        positives=test["positives"],
        warm_definition=warm,
        baseline=baseline,
        draws=draws,
        rows=rows,
    )


def grouped(runs: Sequence[Run]) -> list[list[int]]:
    """Return the places of the runs of each configuration, by ascending seed; in the order of their first runs.

    Raises:
        UserError: one configuration has a seed twice.
    """
    found: dict[tuple[Any, ...], list[int]] = {}
    for place, run in enumerate(runs):
        key = (run.metrics["model"], run.metrics["cf"], run.metrics["llm"], *sorted(run.configuration.items()))
        for other in found.setdefault(key, []):
            if runs[other].metrics["seed"] == run.metrics["seed"]:
                raise UserError(
                    f"{runs[other].folder} and {run.folder}: the same configuration with the same seed"
                    f" {run.metrics['seed']}: leave one out"
                )
        found[key].append(place)
    return [sorted(group, key=lambda place: runs[place].metrics["seed"]) for group in found.values()]


def number(values: Sequence[float | None]) -> Number | None:
    """Return mean and standard deviation (ddof 1) over seeds; None where a seed has no value."""
    defined = [value for value in values if value is not None]
    if len(defined) < len(values):
        return None
    return Number(mean=fmean(defined), sd=stdev(defined) if len(defined) > 1 else None)


def _row(name: Named, runs: Sequence[Run], warm: Definition) -> Row:
    tests = [run.metrics["test"] for run in runs]
    first = runs[0].metrics
    parts = {part: [_parted(test, warm)[part] for test in tests] for part in ("warm", "cold")}
    rates = number([run.metrics["scoring"] and run.metrics["scoring"]["rows_per_second"] for run in runs])
    return Row(
        label=name.label,
        settings=name.settings,
        model=first["model"],
        cf=first["cf"],
        llm=first["llm"],
        auc=number([test["auc"] for test in tests]),
        uauc=number([test["uauc"] for test in tests]),
        uauc_users=tests[0]["uauc_users"],
        log_loss=number([test["log_loss"] for test in tests]),
        warm=_part(parts["warm"]),
        cold=_part(parts["cold"]),
        published=published(first["data"], first["model"], first["cf"]),
        training=_cost([run.metrics["training"] for run in runs]),
        rows_per_second=None if rates is None else rates.mean,
        runs=[run_record(run) for run in runs],
    )


def _parted(test: Mapping[str, Any], warm: Definition) -> Mapping[str, Any]:
    """Return a test block's warm and cold metrics by a definition."""
    found: Mapping[str, Any] = test if test["warm_definition"] == warm else test[warm]
    return found


def _part(blocks: Sequence[Mapping[str, Any]]) -> Part:
    metrics = {metric: number([block[metric] for block in blocks]) for metric in ("auc", "uauc")}
    return Part(rows=blocks[0]["rows"], **metrics)


def _cost(records: Sequence[Mapping[str, Any] | None]) -> Cost | None:
    """Return what training took, of one seed: sizes are those of the first, the time is the mean."""
    known = [record for record in records if record is not None]
    if len(known) < len(records):
        return None
    seconds = fmean(record["seconds"] for record in known)
    first = known[0]
    return Cost(
        trained_parameters=first["trained_parameters"], rows=first["rows"], steps=first["steps"], seconds=seconds
    )


def _place(rows: Sequence[Row], baseline: str) -> int:
    found = [place for place, row in enumerate(rows) if row.label.casefold() == baseline.casefold()]
    found = found or [place for place, row in enumerate(rows) if baseline in [run.folder for run in row.runs]]
    if not found:
        known = "; ".join(row.label for row in rows)
        raise UserError(f"--baseline {baseline}: no such row: choose one of: {known}")
    return found[0]


def _with_tests(rows: Sequence[Row], base: int, scores: Sequence[Sequence[pl.DataFrame]], draws: int) -> list[Row]:
    first = scores[0][0]
    user, label = np.unique(first["user_id"].to_numpy(), return_inverse=True)[1], first["label"].to_numpy()
    others = [place for place in range(len(rows)) if place != base]
    found = against(user, label, averaged(scores[base]), [averaged(scores[place]) for place in others], draws)
    tested = dict(zip(others, found, strict=True))
    return [row.model_copy(update={"against": tested.get(place)}) for place, row in enumerate(rows)]
