"""The sections of one run's report, made from the files in its folder."""

from collections.abc import Mapping, Sequence
from typing import Any

from recsys_lora.report.runs import Run
from recsys_lora.report.table import DASH, MAIN, compared, grids, notes, number, shown, warm_and_cold
from recsys_lora.report.visual import curves, figures, markup
from recsys_lora.report.visual.scored import Disagreement, Scored, disagreement
from recsys_lora.tasks.lines import SCORE, file_name, read_lines
from recsys_lora.utils.console import duration

_STYLES = {"method": 0, "cf": 1, "frozen_llm": 2}
"""Drawing styles of lines by role; all others have the style `_OTHER`."""
_OTHER = 3
_LARGEST_CONFIG, _LONGEST_TITLE = 200_000, 120
"""Maximum characters of a config and of a title that are shown."""


def results(run: Run) -> str:
    """Return the main metrics of every line as pictures, then the full tables and their notes."""
    tasks, draws = run.metrics["tasks"], run.metrics["draws"]
    pictures = [
        figures.intervals(f"{task}: {shown(metric)}", shown(metric), _values(block, metric))
        for task, block in tasks.items()
        for metric in list(block["lines"][0]["metrics"])[:MAIN]
    ]
    more = [made(name, block) for name, block in tasks.items() for made in (compared, warm_and_cold)]
    tables = [
        markup.table(grid.columns, grid.cells, grid.title, grid.own)
        for grid in [*grids(tasks, run.metrics["name"]), *more]
    ]
    return markup.figures(pictures) + "".join(tables) + markup.listed(notes(tasks, draws, all_parts=True))


def training(run: Run) -> str:
    """Return the training curves."""
    made = curves.of_run(run.folder)
    if made:
        return markup.figures(made)
    return markup.paragraph(
        "No curves are in this run's folder: it trained nothing, or reused what another run trained."
    )


def scores(run: Run) -> list[tuple[str, str]]:
    """Return the sections based on scores, each with its heading, for yes-or-no tasks."""
    found = []
    for task, block in run.metrics["tasks"].items():
        if block["positives"] is not None and (run.folder / file_name(task)).is_file():
            lines = drawn(run, task)
            found += [
                (f"{task}: ranking and calibration", _whole(lines)),
                (f"{task}: slices", markup.figures(figures.slice_figures(lines))),
                (f"{task}: where CF and LLM disagree", _disagreement(lines)),
            ]
    return found


def drawn(run: Run, task: str) -> list[Scored]:
    """Return the lines of a run that are drawn: the method, the CF model, the frozen LLM, the best simple baseline."""
    table, block = read_lines(run.folder / file_name(task)), run.metrics["tasks"][task]
    lines = [line for line in block["lines"] if not line["sample"] and SCORE + line["name"] in table.columns]
    chosen = [line for role in _STYLES for line in lines if line["role"] == role]
    metric = next(iter(block["lines"][0]["metrics"]))
    baselines = [line for line in lines if line["role"] == "baseline" and line["metrics"][metric]["value"] is not None]
    best = sorted(baselines, key=lambda line: -line["metrics"][metric]["value"])[:1]
    return [Scored(line["name"], _STYLES.get(line["role"], _OTHER), table, line["name"]) for line in [*chosen, *best]]


def cost(run: Run) -> str:
    """Return the time of each stage, and the cost of training and scoring."""
    seconds: Mapping[str, float] = run.metrics["seconds"]
    rows = [[f"stage {name}", duration(value)] for name, value in seconds.items()]
    if trained := run.metrics["training"]:
        rows += [[f"training: {name.replace('_', ' ')}", _plain(value)] for name, value in trained.items()]
    for task, block in run.metrics["tasks"].items():
        if block["scoring"]:
            rows += [[f"{task}, scoring: {name.replace('_', ' ')}", _plain(v)] for name, v in block["scoring"].items()]
    picture = figures.bars("Time by stage", "seconds", seconds)
    note = "a stage whose result was reused costs next to nothing"
    return markup.figures([picture]) + markup.table(["", "value"], rows) + markup.paragraph(note, "soft")


def configuration(run: Run) -> str:
    """Return how to reproduce the run, and the whole config."""
    config = (run.folder / "config.yaml").read_text(encoding="utf-8")
    cut = f" (the first {_LARGEST_CONFIG:,} characters)" if len(config) > _LARGEST_CONFIG else ""
    environment, git = run.environment, run.environment["git"] or {}
    rows = [
        ["command", str(environment["command"])],
        ["overrides", " ".join(run.overrides) or DASH],
        ["started", str(environment["started"])],
        ["commit", f"{git.get('commit', DASH)}{' and changes' if git.get('dirty') else ''}"],
        ["versions", ", ".join(f"{name} {version}" for name, version in environment["packages"].items())],
        ["machine", ", ".join(f"{name}: {_plain(value)}" for name, value in environment["hardware"].items())],
    ]
    return markup.table(["", "value"], rows, texts=(0, 1)) + markup.folded(
        f"config.yaml{cut}", config[:_LARGEST_CONFIG]
    )


def _whole(lines: Sequence[Scored]) -> str:
    if not lines[0].has_both_classes:
        return markup.paragraph("All questions have the same answer: nothing is ranked.")
    return markup.figures([figures.roc_figure(lines), figures.calibration_figure(lines), figures.users_figure(lines)])


def _disagreement(lines: Sequence[Scored]) -> str:
    """Return where the method and the CF model differ most; nothing if one of them is missing."""
    by_style = {line.style: line for line in lines}
    if not {0, 1} <= by_style.keys():
        return ""
    method, encoder = by_style[0], by_style[1]
    found = disagreement(encoder, method)
    told = f"Scores are compared by their place among all {len(encoder.score):,} questions, from 0 to 1."
    if found.aucs:
        told += (
            f" On the {found.rows:,} questions on which the places differ most, the AUC of {encoder.name} is"
            f" {number(found.aucs[0])}, that of {method.name} {number(found.aucs[1])}."
        )
    parts = ((f"{method.name} above {encoder.name}", found.above), (f"{encoder.name} above {method.name}", found.below))
    tables = [_examples(title, places, found, encoder, method) for title, places in parts if places]
    return markup.paragraph(told) + "".join(tables)


def _examples(title: str, places: Sequence[int], found: Disagreement, encoder: Scored, method: Scored) -> str:
    heads = ["user", "item", "right answer", encoder.name, method.name, "latest positives", "rows of the item in train"]
    rows = [
        [
            str(row["user_id"]),
            _short(row["title"]),
            "yes" if row["label"] > 0 else "no",
            number(float(found.first[place]), 2),
            number(float(found.second[place]), 2),
            "; ".join(map(_short, row["history"])) or DASH,
            f"{row['item_rows']:,}",
        ]
        for place, row in zip(places, encoder.table[list(places)].to_dicts(), strict=True)
    ]
    return markup.table(heads, rows, title, texts=(0, 1, 2, 5))


def _short(title: str) -> str:
    return title if len(title) <= _LONGEST_TITLE else f"{title[: _LONGEST_TITLE - 1]}…"


def _values(block: Mapping[str, Any], metric: str) -> list[tuple[str, int, float, Sequence[float] | None]]:
    lines = [line for line in block["lines"] if not line["sample"] and line["metrics"][metric]["value"] is not None]
    return [
        (line["name"], _STYLES.get(line["role"], _OTHER), found["value"], found["interval"])
        for line in lines
        if (found := line["metrics"][metric])
    ]


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return ", ".join(map(str, value)) or DASH if isinstance(value, list) else str(value)
