"""report.html: of one run, in its folder; of several runs side by side, in a file."""

from collections.abc import Sequence
from pathlib import Path

from recsys_lora.report.labels import named
from recsys_lora.report.runs import Run, read_run
from recsys_lora.report.table import DASH, MAIN, cell, method_line, shown
from recsys_lora.report.visual import curves, figures, markup, sections
from recsys_lora.report.visual.scored import Scored
from recsys_lora.tasks.lines import file_name
from recsys_lora.utils.files import write_text
from recsys_lora.utils.words import counted

FILE = "report.html"
_KEY = ["user_id", "item_id", "label"]
"""Identifies the same question in two runs."""
_DRAWN = 6
"""Only the first runs are drawn, as more could not be told apart. Tables have all."""


def write_report(folder: Path) -> Path:
    """Write the report of a finished run into its folder.

    Raises:
        UserError: the run has not finished, or one of its files is missing.
    """
    write_text(target := folder / FILE, of_run(read_run(folder, typed=False)))
    return target


def of_run(run: Run) -> str:
    """Return the report of one run."""
    metrics = run.metrics
    about = [
        f"{metrics['model']} on {metrics['data']}; CF model: {metrics['cf'] or 'none'}; language model:"
        f" {metrics['llm'] or 'none'}; seed {metrics['seed']}",
        f"{run.environment['started']}, {run.called}",
    ]
    parts = [
        ("Results", sections.results(run)),
        ("Training", sections.training(run)),
        *sections.scores(run),
        ("Cost", sections.cost(run)),
        ("Configuration", sections.configuration(run)),
    ]
    return markup.document(metrics["name"], about, parts)


def of_runs(runs: Sequence[Run], left_out: Sequence[str] = ()) -> str:
    """Return the report of several finished runs; it names those left out."""
    names = names_of(runs)
    tasks = dict.fromkeys(task for run in runs for task in run.metrics["tasks"])
    parts = [("Runs", _overview(runs, names))]
    for task in tasks:
        parts += [(task, _results(task, runs, names)), (f"{task}: scores", _scores(task, runs, names))]
    drawn = [(name, style, run.folder) for style, (name, run) in enumerate(zip(names, runs, strict=True))][:_DRAWN]
    parts += [("Training", markup.figures(curves.of_runs(drawn))), ("Cost", _cost(runs, names))]
    about = [f"{counted(len(runs), 'run')} on {', '.join(dict.fromkeys(run.metrics['data'] for run in runs))}"]
    about += [f"left out, without results: {', '.join(left_out)}"] if left_out else []
    return markup.document("Runs beside each other", about, parts)


def names_of(runs: Sequence[Run]) -> list[str]:
    """Return the names of the runs: their configurations, plus seed or folder if these are the same."""
    keys = [tuple(sorted(_key(run).items())) for run in runs]
    first = {key: runs[keys.index(key)] for key in dict.fromkeys(keys)}
    labels = dict(zip(first, (one.label for one in named(list(first.values()))), strict=True))
    names = [labels[key] for key in keys]
    names = _told_apart(names, [f"seed {run.metrics['seed']}" for run in runs])
    return _told_apart(names, [run.called for run in runs])


def _told_apart(names: Sequence[str], more: Sequence[str]) -> list[str]:
    """Return names; equal ones are extended by `more` if it differs among them."""
    further = {name: {text for other, text in zip(names, more, strict=True) if other == name} for name in names}
    return [name if len(further[name]) == 1 else f"{name}, {text}" for name, text in zip(names, more, strict=True)]


def _key(run: Run) -> dict[str, str]:
    return {"model": run.metrics["model"], "cf": str(run.metrics["cf"]), **run.configuration}


def _overview(runs: Sequence[Run], names: Sequence[str]) -> str:
    heads = ["run", "folder", "model", "CF model", "language model", "seed", "overrides"]
    rows = [
        [
            name,
            run.called,
            run.metrics["model"],
            run.metrics["cf"] or DASH,
            run.metrics["llm"] or DASH,
            str(run.metrics["seed"]),
            " ".join(run.overrides) or DASH,
        ]
        for name, run in zip(names, runs, strict=True)
    ]
    return markup.table(heads, rows, texts=(0, 1, 2, 3, 4, 6))


def _results(task: str, runs: Sequence[Run], names: Sequence[str]) -> str:
    blocks = [
        (style, name, block)
        for style, (name, run) in enumerate(zip(names, runs, strict=True))
        if (block := run.metrics["tasks"].get(task))
    ]
    lines = [(style, name, method_line(block)["metrics"]) for style, name, block in blocks]
    metrics = list(lines[0][2])
    pictures = []
    for metric in metrics[:MAIN]:
        values = [
            (name, style, line[metric]["value"], line[metric]["interval"])
            for style, name, line in lines
            if metric in line and line[metric]["value"] is not None
        ]
        pictures.append(figures.intervals(f"{task}: {shown(metric)}", shown(metric), values))
    rows = [
        [name, f"{block['rows']:,}", *(cell(line[metric]) if metric in line else DASH for metric in metrics)]
        for (_, name, block), (_, _, line) in zip(blocks, lines, strict=True)
    ]
    return markup.figures(pictures) + markup.table(["run", "questions", *map(shown, metrics)], rows)


def _scores(task: str, runs: Sequence[Run], names: Sequence[str]) -> str:
    """Return pictures of the methods' scores, for runs on the same questions as the first run with scores."""
    found: list[Scored] = []
    others = []
    for style, (name, run) in enumerate(zip(names, runs, strict=True)):
        if task not in run.metrics["tasks"] or not (run.folder / file_name(task)).is_file():
            continue
        table = (line := sections.drawn(run, task)[0]).table.sort(*_KEY, "row")
        if found and not table.select(_KEY).equals(found[0].table.select(_KEY)):
            others.append(name)
        elif len(found) < _DRAWN:
            found.append(Scored(name, style, table, line.column))
    if not found or not found[0].has_both_classes:
        return ""
    told = markup.paragraph(f"Tested on other questions, not drawn: {', '.join(others)}.") if others else ""
    whole = [figures.roc_figure(found), figures.calibration_figure(found), figures.users_figure(found)]
    return told + markup.figures([*whole, *figures.slice_figures(found)])


def _cost(runs: Sequence[Run], names: Sequence[str]) -> str:
    stages = list(dict.fromkeys(stage for run in runs for stage in run.metrics["seconds"]))
    trained = ("trained_parameters", "rows", "steps")
    heads = ["run", *(f"{stage}, s" for stage in stages), *(name.replace("_", " ") for name in trained)]
    rows = []
    for name, run in zip(names, runs, strict=True):
        seconds, training = run.metrics["seconds"], run.metrics["training"]
        took = [f"{seconds[stage]:,.1f}" if stage in seconds else DASH for stage in stages]
        rows.append([name, *took, *(f"{training[key]:,}" if training else DASH for key in trained)])
    return markup.table(heads, rows)
