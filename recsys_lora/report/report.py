"""The end of a run: lines of predictions become metrics.json, table.md and the table on the terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from rich.table import Table

from recsys_lora.console import console
from recsys_lora.evaluation.evaluate import evaluate
from recsys_lora.evaluation.predictions import Predictions
from recsys_lora.evaluation.significance import Metric, paired_difference
from recsys_lora.evaluation.warmth import Definition
from recsys_lora.files import write_text
from recsys_lora.report import task_table
from recsys_lora.report.metrics_json import write_metrics
from recsys_lora.report.table import markdown, notes, rich_tables

METRICS_FILE, TABLE_FILE = "metrics.json", "table.md"
Role = Literal["popularity", "cf", "frozen_llm", "method", "method_shuffled"]
ORDER: tuple[Role, ...] = get_args(Role)
BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Scored:
    """One line to be: a name, what it is to the run, and its predictions of the shared rows.

    Attributes:
        name: as printed.
        role: what it is; `method` marks the run's own model (also where that is a CF model alone).
        predictions: of the same rows as all other lines with the same `sample`.
        sample: it is about the sample of rows only.
    """

    name: str
    role: Role
    predictions: Predictions
    sample: bool = False


def build(
    run: Mapping[str, Any],
    scored: Sequence[Scored],
    warm: Definition = "seen",
    draws: int = 1000,
    sample_seed: int = 0,
    valid: Mapping[str, float] | None = None,
    seconds: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Compute the record behind metrics.json and the table.

    Args:
        run: name, model, data, cf, llm, seed, tags.
        scored: the lines, in any order; where one has `sample`, the method is measured on that sample, too.
        warm: the definition of warm rows in the table.
        draws: bootstrap draws over users.
        sample_seed: what decided the sample, for the record.
        valid: the best validation, for the record.
        seconds: wall time of each stage.

    Raises:
        ValueError: lines of one part are not about the same rows, or there is not exactly one method.
    """
    own = [line for line in scored if line.role == "method" and not line.sample]
    if len(own) != 1:
        raise ValueError(f"a table needs one line that is the method, got {len(own)}")
    scored = _with_method_on_sample(sorted(scored, key=lambda s: (s.sample, ORDER.index(s.role))), own[0])
    for sample in (False, True):
        _same_rows([line for line in scored if line.sample == sample])
    lines = [
        {
            "name": line.name,
            "role": line.role,
            "sample": line.sample,
            "metrics": evaluate(line.predictions, warm, draws, BOOTSTRAP_SEED),
        }
        for line in scored
    ]
    on_sample = [line for line in scored if line.sample]
    return {
        **run,
        "test": next(line["metrics"] for line in lines if line["role"] == "method" and not line["sample"]),
        "valid": dict(valid) if valid else None,
        "lines": lines,
        "sample": {"rows": len(on_sample[0].predictions), "seed": sample_seed} if on_sample else None,
        "differences": list(_differences(scored, own[0], draws)),
        "draws": draws,
        "seconds": dict(seconds or {}),
    }


def publish(record: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Write metrics.json and table.md into the run folder and print the table.

    Returns:
        What metrics.json holds.
    """
    metrics = write_metrics(folder / METRICS_FILE, record)
    write_text(folder / TABLE_FILE, markdown(metrics))
    _show(rich_tables(metrics), notes(metrics))
    return metrics


def publish_tasks(record: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Write metrics.json and table.md of a model of several tasks into the run folder and print the tables.

    Returns:
        What metrics.json holds.
    """
    metrics = write_metrics(folder / METRICS_FILE, record)
    tasks, draws = metrics["tasks"], metrics["draws"]
    write_text(folder / TABLE_FILE, task_table.markdown(tasks, draws))
    _show(task_table.rich_tables(tasks), task_table.notes(tasks, draws))
    return metrics


def _show(tables: Sequence[Table], sentences: Sequence[str]) -> None:
    screen = console()
    for table in tables:
        screen.print(table)
    for sentence in sentences:
        screen.print(sentence, markup=False)


def _with_method_on_sample(scored: Sequence[Scored], method: Scored) -> list[Scored]:
    """Put the method on the sample's rows before the first line on the sample, to compare with."""
    result = list(scored)
    first = next((index for index, line in enumerate(result) if line.sample), None)
    if first is not None and not any(line.sample and line.role == "method" for line in result):
        part = method.predictions.only(result[first].predictions.row)
        result.insert(first, Scored(method.name, "method", part, sample=True))
    return result


def _same_rows(lines: Sequence[Scored]) -> None:
    for line in lines[1:]:
        if not np.array_equal(np.sort(line.predictions.row), np.sort(lines[0].predictions.row)):
            raise ValueError(f"{line.name} and {lines[0].name} are not scored on the same rows")


def _differences(scored: Sequence[Scored], method: Scored, draws: int) -> Any:
    """Yield the method minus its encoder, and minus itself with shuffled users on the sample."""
    metrics: tuple[Metric, ...] = ("auc", "uauc")
    own_sample = next((line for line in scored if line.sample and line.role == "method"), None)
    for other in scored:
        base = own_sample if other.sample else method
        if other.role not in ("cf", "method_shuffled") or base is None:
            continue
        for metric in metrics:
            found = paired_difference(base.predictions, other.predictions, metric, BOOTSTRAP_SEED, draws)
            if np.isfinite(found).all():
                names = {"first": base.name, "second": other.name, "metric": metric}
                yield {**names, "value": found.value, "interval": [found.low, found.high]}
