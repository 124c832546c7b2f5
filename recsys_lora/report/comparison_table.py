"""The forms of a comparison's table: terminal, Markdown, CSV and LaTeX."""

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from rich.console import RenderableType

from recsys_lora.report.comparison_cells import Group, against_lines, asked, lines, notes, title
from recsys_lora.report.comparison_schema import Comparison, Number, Row, TaskRow, Whose
from recsys_lora.report.screen import readable
from recsys_lora.utils.files import csv_text

_PARTS: dict[Group, str] = {"metrics": "", "published": "published numbers", "cost": "cost"}
_WHOSE: tuple[Whose, ...] = get_args(Whose)
_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "–": "--",
        "…": r"\ldots{}",
        "<": r"$<$",
        ">": r"$>$",
    }
)


def on_terminal(comparison: Comparison, width: int) -> Iterator[RenderableType]:
    """Yield the tables for a screen of so many characters.

    They are, of each task: metrics, published numbers, cost, comparison with a baseline.
    """
    for task in comparison.tasks:
        for group, name in _PARTS.items():
            heads, cells = lines(comparison, task, group)
            if len(heads) > 1:
                yield readable(f"{task}: {name}" if name else title(comparison, task), heads, cells, width)
        heads, cells = against_lines(comparison, task)
        if cells:
            yield readable(f"{task}: compared with {comparison.baseline}", heads, cells, width)


def markdown(comparison: Comparison) -> str:
    """Return all as Markdown: of each task one wide table and the comparison with the baseline, and the notes."""
    text = []
    for task in comparison.tasks:
        text += [f"**{_cell(title(comparison, task))}**", "", *_markdown(*lines(comparison, task)), ""]
        heads, cells = against_lines(comparison, task)
        if cells:
            text += [*_markdown(heads, cells), ""]
    text += [f"- {note}" for note in notes(comparison)]
    text += [f"- made by `{comparison.command}`"]
    return "\n".join(text) + "\n"


def _markdown(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    body = [heads, ["---", *["---:"] * (len(heads) - 1)], *cells]
    return ["| " + " | ".join(_cell(cell) for cell in line) + " |" for line in body]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def latex(comparison: Comparison) -> str:
    """Return the tables for LaTeX with the package booktabs; titles, notes and command as comments."""
    text = [f"% {note}" for note in (*notes(comparison), comparison.command)]
    for task in comparison.tasks:
        text += ["", f"% {title(comparison, task)}", *_latex(*lines(comparison, task))]
        heads, cells = against_lines(comparison, task)
        if cells:
            text += ["", *_latex(heads, cells)]
    return "\n".join(text) + "\n"


def _latex(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    def line(texts: Sequence[str]) -> str:
        return " & ".join(text.translate(_LATEX) for text in texts) + r" \\"

    columns = "l" + "r" * (len(heads) - 1)
    start = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", line(heads), r"\midrule"]
    return [*start, *map(line, cells), r"\bottomrule", r"\end{tabular}"]


def as_csv(comparison: Comparison) -> str:
    """Return one line a row and task with every number in full; what does not exist is empty."""
    return csv_text([_flat(row, task, own) for task in comparison.tasks for row, own in asked(comparison, task)])


def _flat(row: Row, task: str, own: TaskRow) -> dict[str, Any]:
    seeds = " ".join(str(run.seed) for run in row.runs)
    found: dict[str, Any] = {"task": task, "label": row.label, "model": row.model, "cf": row.cf, "llm": row.llm}
    found |= {"seeds": seeds}
    for name, value in own.metrics.items():
        found |= _mean_and_sd(name, value)
        if name in own.users:
            found |= {f"{name}_users": own.users[name]}
    for part in ("warm", "cold"):
        for name, value in getattr(own, part).items():
            found |= _mean_and_sd(f"{part}_{name}", value)
    for whose in _WHOSE:
        quoted = own.published.get(whose)
        found |= {f"published_{whose}_{metric}": getattr(quoted, metric, None) for metric in ("auc", "uauc")}
    cost = row.training
    found |= {"trained_parameters": cost.trained_parameters if cost else None}
    found |= {"training_rows": cost.rows if cost else None}
    found |= {"training_steps": cost.steps if cost else None, "training_seconds": cost.seconds if cost else None}
    found |= {"rows_per_second": own.rows_per_second}
    if own.against is None:
        return found
    for name, gap in own.against.gaps.items():
        low, high = gap.interval or (None, None)
        found |= {f"minus_{name}": gap.value, f"minus_{name}_low": low, f"minus_{name}_high": high}
    for name, test in (("t", own.against.t), ("wilcoxon", own.against.wilcoxon)):
        found |= {f"{name}_statistic": test.statistic, f"{name}_p": test.p, f"{name}_p_holm": test.p_holm}
    return found | {"tested": own.against.tested, "test_users": own.against.users}


def _mean_and_sd(name: str, value: Number | None) -> dict[str, float | None]:
    return {f"{name}_mean": value.mean if value else None, f"{name}_sd": value.sd if value else None}
