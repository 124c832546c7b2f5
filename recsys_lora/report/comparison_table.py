"""The formats of a comparison's table: terminal, Markdown, CSV and LaTeX."""

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from rich.console import RenderableType

from recsys_lora.report.comparison_cells import Group, against_lines, asked, lines, notes, stack_lines, title
from recsys_lora.report.comparison_numbers import Gap, Number
from recsys_lora.report.comparison_schema import Comparison, Row, TaskRow, Whose
from recsys_lora.report.screen import readable
from recsys_lora.report.table import escaped, markdown_table
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
    """Yield the tables for a screen `width` characters wide.

    For each task: metrics, published numbers, cost, what rows add to a stack, comparison with a baseline.
    """
    for task in comparison.tasks:
        for group, name in _PARTS.items():
            heads, cells = lines(comparison, task, group)
            if len(heads) > 1:
                yield readable(f"{task}: {name}" if name else title(comparison, task), heads, cells, width)
        for name, (heads, cells) in _more(comparison, task):
            yield readable(f"{task}: {name}", heads, cells, width)


def _more(comparison: Comparison, task: str) -> Iterator[tuple[str, tuple[list[str], list[list[str]]]]]:
    """Yield name, headings and cells of a task's further tables that have lines."""
    stacks, tests = stack_lines(comparison, task), against_lines(comparison, task)
    if stacks[1]:
        yield "what rows add to a stack", stacks
    if tests[1]:
        yield f"compared with {comparison.baseline}", tests


def markdown(comparison: Comparison) -> str:
    """Return everything as Markdown: per task a wide table, what rows add to a stack, and tests; then the notes."""
    text = []
    for task in comparison.tasks:
        text += [f"**{escaped(title(comparison, task))}**", "", *markdown_table(*lines(comparison, task)), ""]
        for _, (heads, cells) in _more(comparison, task):
            text += [*markdown_table(heads, cells), ""]
    text += [f"- {note}" for note in notes(comparison)]
    text += [f"- made by `{comparison.command}`"]
    return "\n".join(text) + "\n"


def latex(comparison: Comparison) -> str:
    """Return the tables in LaTeX, with the package booktabs; titles, notes and the command are comments."""
    text = [f"% {note}" for note in (*notes(comparison), comparison.command)]
    for task in comparison.tasks:
        text += ["", f"% {title(comparison, task)}", *_latex(*lines(comparison, task))]
        for _, (heads, cells) in _more(comparison, task):
            text += ["", *_latex(heads, cells)]
    return "\n".join(text) + "\n"


def _latex(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    def line(texts: Sequence[str]) -> str:
        return " & ".join(text.translate(_LATEX) for text in texts) + r" \\"

    columns = "l" + "r" * (len(heads) - 1)
    start = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", line(heads), r"\midrule"]
    return [*start, *map(line, cells), r"\bottomrule", r"\end{tabular}"]


def as_csv(comparison: Comparison) -> str:
    """Return one line per row and task with all numbers unrounded; missing ones are empty."""
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
    if own.stacked is not None:
        for name, gap in own.stacked.gaps.items():
            found |= _mean_and_sd(f"stack_without_{name}", own.stacked.without[name])
            found |= _mean_and_sd(f"stack_with_{name}", own.stacked.included[name])
            found |= _with_ends(f"stack_gained_{name}", gap)
    if own.against is None:
        return found
    for name, gap in own.against.gaps.items():
        found |= _with_ends(f"minus_{name}", gap)
    for name, test in (("t", own.against.t), ("wilcoxon", own.against.wilcoxon)):
        found |= {f"{name}_statistic": test.statistic, f"{name}_p": test.p, f"{name}_p_holm": test.p_holm}
    return found | {"tested": own.against.tested, "test_users": own.against.users}


def _with_ends(name: str, gap: Gap) -> dict[str, float | None]:
    low, high = gap.interval or (None, None)
    return {name: gap.value, f"{name}_low": low, f"{name}_high": high}


def _mean_and_sd(name: str, value: Number | None) -> dict[str, float | None]:
    return {f"{name}_mean": value.mean if value else None, f"{name}_sd": value.sd if value else None}
