"""A saved workspace view in W&B: panels for what a set of runs has logged, grouped by method.

Names come from the runs' own records (metrics.json and metrics.csv), so no panel stays empty.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys_lora.report.flat import flat_metrics
from recsys_lora.report.metrics_json import read_metrics
from recsys_lora.report.runs import find_runs
from recsys_lora.utils.errors import UserError

_METHOD = "model.name"
"""The config key by which runs are grouped."""
_COUNTS = ("rows",)
_PINNED = 2
"""Number of metrics per task, the first ones, that have a column in the table of runs."""


@dataclass(frozen=True)
class Logged:
    """What runs have logged.

    Attributes:
        numbers: names of final numbers, like `test/auc`, in the order of the first run that has them.
        curves: names of curves, like `valid/auc`.
    """

    numbers: tuple[str, ...]
    curves: tuple[str, ...]


@dataclass(frozen=True)
class PanelPlan:
    """One panel.

    Attributes:
        kind: bar (the runs' final numbers), line (a curve) or scatter (two final numbers of each run).
        metrics: names of its metrics; x and y for scatter.
    """

    kind: str
    metrics: tuple[str, ...]


def read_logged(paths: Sequence[Path]) -> Logged:
    """Return what the runs in folders have logged.

    Raises:
        UserError: there is no run, or none has been tested.
    """
    numbers: dict[str, None] = {}
    curves: dict[str, None] = {}
    for folder in find_runs(paths):
        if (folder / "metrics.json").is_file():
            found = flat_metrics(read_metrics(folder / "metrics.json"))
            numbers |= dict.fromkeys(f"test/{name}" for name, value in found.items() if value is not None)
        if (folder / "metrics.csv").is_file():
            with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
                columns = csv.DictReader(file).fieldnames or []
            curves |= dict.fromkeys(name for name in columns if "/" in name)
    if not numbers:
        raise UserError(f"{paths[0]}: none of its runs has been tested (no metrics.json): run them first")
    return Logged(tuple(numbers), tuple(curves))


def plan(logged: Logged) -> dict[str, list[PanelPlan]]:
    """Return the panels of each section: final numbers on all, warm and cold rows, curves, cost."""
    metrics = _metrics(logged)
    parts: dict[str, Callable[[str], bool]] = {
        "Test": lambda name: not _leaf(name).startswith(("warm_", "cold_")),
        "Warm rows": lambda name: _leaf(name).startswith("warm_"),
        "Cold rows": lambda name: _leaf(name).startswith("cold_"),
    }
    sections = {
        title: [PanelPlan("bar", (name,)) for name in metrics if belongs(name)] for title, belongs in parts.items()
    }
    for title, prefix in (("Validation", "valid/"), ("Training", "train/")):
        sections[title] = [PanelPlan("line", (name,)) for name in sorted(logged.curves) if name.startswith(prefix)]
    seconds = [name for name in logged.numbers if _seconds(name)]
    against = [PanelPlan("scatter", (name, metrics[0])) for name in seconds if name == "test/seconds/method"]
    sections["Cost"] = [*(PanelPlan("bar", (name,)) for name in seconds), *against]
    return {title: panels for title, panels in sections.items() if panels}


def build_workspace(logged: Logged, entity: str, project: str, name: str, group: str | None) -> Any:
    """Return W&B's workspace object, not saved yet.

    Args:
        logged: what the panels show.
        entity: user or team.
        project: where the runs are.
        name: name of the view.
        group: group of runs to show; None: all of the project.
    """
    from wandb_workspaces import expr, workspaces

    sections = [
        workspaces.Section(name=title, panels=[_panel(panel) for panel in panels], is_open=title != "Training")
        for title, panels in plan(logged).items()
    ]
    tasks: dict[str, list[str]] = {}
    for metric in _metrics(logged):
        tasks.setdefault(metric.split("/")[1], []).append(f"summary:{metric}")
    pinned = [metric for own in tasks.values() for metric in own[:_PINNED]]
    runs = workspaces.RunsetSettings(
        filters=[expr.Metric("Group") == group] if group else [],
        groupby=[expr.Config(_METHOD)],
        pinned_columns=[*pinned, "config:data.name", "config:cf.name", "config:seed"],
    )
    return workspaces.Workspace(entity=entity, project=project, name=name, sections=sections, runset_settings=runs)


def as_json(workspace: Any) -> str:
    """Return the JSON that is sent to W&B for a view."""
    text: str = workspace._to_model().spec.model_dump_json(by_alias=True, exclude_none=True, indent=2)
    return text + "\n"


def _panel(panel: PanelPlan) -> Any:
    from wandb_workspaces.reports import v2

    if panel.kind == "line":
        return v2.LinePlot(title=panel.metrics[0], y=list(panel.metrics))
    if panel.kind == "scatter":
        x, y = (v2.SummaryMetric(metric) for metric in panel.metrics)
        return v2.ScatterPlot(title=f"{panel.metrics[1]} against {panel.metrics[0]}", x=x, y=y)
    return v2.BarPlot(title=panel.metrics[0], metrics=list(panel.metrics), groupby=v2.Config(_METHOD))


def _metrics(logged: Logged) -> list[str]:
    """Return the names of final metrics: `test/ctr/auc`, `test/ctr/warm_auc`."""
    return [
        name
        for name in logged.numbers
        if not (_leaf(name) in _COUNTS or _leaf(name).endswith("_users") or _seconds(name))
    ]


def _leaf(name: str) -> str:
    """Return a metric's own name: warm_auc for test/ctr/warm_auc."""
    return name.rpartition("/")[2]


def _seconds(name: str) -> bool:
    return name.startswith("test/seconds/")
