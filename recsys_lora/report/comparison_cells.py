"""A comparison as text: the columns and cells from which every format of the table is made."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from recsys_lora.report.comparison_numbers import Gap, Number, Tested
from recsys_lora.report.comparison_schema import Comparison, Quoted, Row, TaskRow
from recsys_lora.report.table import DASH, MAIN, number, shown
from recsys_lora.utils.console import duration
from recsys_lora.utils.words import counted

Group = Literal["metrics", "published", "cost"]
Cell = Callable[[Row, TaskRow], str]


@dataclass(frozen=True)
class Column:
    """A column of a task's table.

    Attributes:
        title: heading.
        group: its part of the table on a narrow terminal.
        cell: makes the text of a row.
    """

    title: str
    group: Group
    cell: Cell


_FIXED = (
    Column("published AUC, UAUC", "published", lambda row, task: _quoted(task.published.get("own"))),
    Column("CoRA's re-run", "published", lambda row, task: _quoted(task.published.get("rerun"))),
    Column(
        "trained parameters", "cost", lambda row, task: f"{row.training.trained_parameters:,}" if row.training else DASH
    ),
    Column("training rows", "cost", lambda row, task: f"{row.training.rows:,}" if row.training else DASH),
    Column("steps", "cost", lambda row, task: _count(row.training.steps) if row.training else DASH),
    Column("training time", "cost", lambda row, task: duration(row.training.seconds) if row.training else DASH),
    Column(
        "prompts/s", "cost", lambda row, task: DASH if task.rows_per_second is None else f"{task.rows_per_second:.1f}"
    ),
)
_TESTS = ("users", "t", "p", "p, Holm", "W", "p (W)", "p (W), Holm")
"""The last columns of the comparison with a baseline."""


def asked(comparison: Comparison, task: str) -> list[tuple[Row, TaskRow]]:
    """Return the rows that have results for a task."""
    return [(row, row.tasks[task]) for row in comparison.rows if task in row.tasks]


def columns(comparison: Comparison, task: str) -> Iterator[Column]:
    """Yield the columns of a task's table after the row's name."""
    rows = asked(comparison, task)
    metrics = list(rows[0][1].metrics)
    yield Column("seeds", "metrics", lambda row, _: str(len(row.runs)) if row.runs else DASH)
    for name in metrics:
        yield Column(shown(name), "metrics", _metric("metrics", name))
        if name in rows[0][1].users:
            yield Column(f"{shown(name)} users", "metrics", _users(name))
    for part in ("warm", "cold"):
        for name in metrics[:MAIN]:
            yield Column(f"{part} {shown(name)}", "metrics", _metric(part, name))
    yield from _FIXED


def _metric(part: Literal["metrics", "warm", "cold"], name: str) -> Cell:
    """Return the cell of a metric on all questions, or on the warm or cold ones."""
    return lambda _, task: _mean_and_std(getattr(task, part).get(name))


def _users(name: str) -> Cell:
    return lambda _, task: f"{task.users[name]:,}"


def _mean_and_std(value: Number | None) -> str:
    """Format a mean over seeds with its standard deviation, if there is one."""
    if value is None:
        return DASH
    return number(value.mean) + ("" if value.sd is None else f" ± {number(value.sd)}")


def _count(value: int | None) -> str:
    return DASH if value is None else f"{value:,}"


def _quoted(value: Quoted | None) -> str:
    return DASH if value is None else f"{number(value.auc)}, {number(value.uauc)}"


def title(comparison: Comparison, task: str) -> str:
    """Return the title of a task's table."""
    found = comparison.tasks[task]
    positives = "" if found.positives is None else f", {found.positives:,} positive"
    return (
        f"{comparison.data}, {task}: {counted(found.rows, 'test row')}{positives}; by {comparison.warm_definition}"
        f" {found.warm_rows:,} warm, {found.cold_rows:,} cold"
    )


def lines(comparison: Comparison, task: str, group: Group | None = None) -> tuple[list[str], list[list[str]]]:
    """Return headings and cells of a task's table or a part of it, without columns that are empty in all rows."""
    rows = asked(comparison, task)
    chosen = [column for column in columns(comparison, task) if group in (None, column.group)]
    chosen = [column for column in chosen if any(column.cell(row, own) != DASH for row, own in rows)]
    cells = [[row.label, *(column.cell(row, own) for column in chosen)] for row, own in rows]
    return ["model", *(column.title for column in chosen)], cells


def against_lines(comparison: Comparison, task: str) -> tuple[list[str], list[list[str]]]:
    """Return headings and cells of a task's comparison with the baseline; no lines without a baseline."""
    found = [(row.label, own.against) for row, own in asked(comparison, task) if own.against is not None]
    metrics = list(dict.fromkeys(name for _, one in found for name in one.gaps))
    cells = [
        [
            label,
            *(_gap(one.gaps[name]) if name in one.gaps else DASH for name in metrics),
            f"{one.users:,}",
            *tested(one.t, 2),
            *tested(one.wilcoxon, 1),
        ]
        for label, one in found
    ]
    heads = [f"{shown(name)} difference [95 %]" for name in metrics]
    return [f"minus {comparison.baseline}", *heads, *_TESTS], cells


def stack_lines(comparison: Comparison, task: str) -> tuple[list[str], list[list[str]]]:
    """Return headings and cells of what each row adds to a stack; no lines if no run has stacks."""
    found = [(row.label, own.stacked) for row, own in asked(comparison, task) if own.stacked is not None]
    metrics = list(found[0][1].without)[:MAIN] if found else []
    heads = [
        head
        for name in metrics
        for head in (f"{shown(name)} without it", f"{shown(name)} with it", f"{shown(name)} gained [95 %]")
    ]
    cells = [
        [
            label,
            *(
                cell
                for name in metrics
                for cell in (_mean_and_std(one.without[name]), _mean_and_std(one.included[name]), _gap(one.gaps[name]))
            ),
        ]
        for label, one in found
    ]
    return ["model", *heads], cells


def _gap(found: Gap) -> str:
    if found.value is None:
        return DASH
    ends = "" if found.interval is None else f" [{number(found.interval[0])}, {number(found.interval[1])}]"
    return f"{number(found.value)}{ends}"


def tested(found: Tested, digits: int) -> list[str]:
    """Format a test's statistic, p-value and corrected p-value."""
    statistic = DASH if found.statistic is None else f"{found.statistic:.{digits}f}"
    return [statistic, p_value(found.p), p_value(found.p_holm)]


def p_value(p: float | None) -> str:
    """Format a p-value with four digits, tiny ones as an upper bound."""
    if p is None:
        return DASH
    return "<.0001" if p < 0.0001 else number(p)


def notes(comparison: Comparison) -> list[str]:
    """Return the sentences below the tables."""
    result = []
    if any(len(row.runs) > 1 for row in comparison.rows):
        result.append("mean ± standard deviation over seeds")
    quotes = [quote for row in comparison.rows for own in row.tasks.values() for quote in own.published.values()]
    if quotes:
        sources, theirs = _listed(found.source for found in quotes), _listed(found.llm for found in quotes)
        ours = _listed(row.llm for row in comparison.rows)
        result.append(
            f"published: {sources}; on all test rows of {comparison.data}; LLMs: theirs {theirs}, here {ours}"
        )
    for row in comparison.rows:
        if row.settings:
            result.append(f"{row.label}: {', '.join(f'{key}={value}' for key, value in row.settings.items())}")
    if any(own.stacked for row in comparison.rows for own in row.tasks.values()):
        result.append(
            "stack: a logit model of counts (ctr: the item's and the user's share of positives; topk: the log of each "
            "candidate's count), the row's CF model and the row's score, fitted on validation questions; gained: with "
            "the row's score less without it, predictions of several seeds averaged first, "
            f"{comparison.draws:,} paired bootstrap draws over users"
        )
    if comparison.baseline is not None:
        compared = [(task, row, own) for task in comparison.tasks for row, own in asked(comparison, task)]
        of = _listed(f"{shown(own.against.tested)} ({task})" for task, _, own in compared if own.against)
        result.append(
            f"compared with {comparison.baseline}: predictions of several seeds are averaged first; intervals: 95 %,"
            f" {comparison.draws:,} paired bootstrap draws over users; t and W (Wilcoxon): two-sided, over users' own"
            f" {of}; Holm: over the rows of a task's table"
        )
        for task, row, own in compared:
            if own.against is not None:
                found = (own.against.t.reason, own.against.wilcoxon.reason)
                result += [f"{task}, {row.label}: {reason}" for reason in dict.fromkeys(found) if reason]
    if comparison.left_out:
        result.append(f"left out, without results: {', '.join(comparison.left_out)}")
    return list(dict.fromkeys(result))


def _listed(names: Iterable[str | None]) -> str:
    return "; ".join(dict.fromkeys(name for name in names if name)) or "none"
