"""A comparison as text: columns and cells, from which every form of the table is made."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from recsys_lora.console import duration
from recsys_lora.report.comparison_schema import Comparison, Gap, Number, Quoted, Row, Tested
from recsys_lora.report.table import DASH, number

Group = Literal["metrics", "published", "cost"]


@dataclass(frozen=True)
class Column:
    """A column of the main table.

    Attributes:
        title: its head.
        group: which part of the table on a narrow terminal.
        cell: a row's text.
    """

    title: str
    group: Group
    cell: Callable[[Row], str]


COLUMNS = (
    Column("seeds", "metrics", lambda row: str(len(row.runs))),
    Column("AUC", "metrics", lambda row: spread(row.auc)),
    Column("UAUC", "metrics", lambda row: spread(row.uauc)),
    Column("UAUC users", "metrics", lambda row: f"{row.uauc_users:,}"),
    Column("warm AUC", "metrics", lambda row: spread(row.warm.auc)),
    Column("warm UAUC", "metrics", lambda row: spread(row.warm.uauc)),
    Column("cold AUC", "metrics", lambda row: spread(row.cold.auc)),
    Column("cold UAUC", "metrics", lambda row: spread(row.cold.uauc)),
    Column("log loss", "metrics", lambda row: spread(row.log_loss)),
    Column("published AUC, UAUC", "published", lambda row: quoted(row.published.get("own"))),
    Column("CoRA's re-run", "published", lambda row: quoted(row.published.get("rerun"))),
    Column("trained parameters", "cost", lambda row: f"{row.training.trained_parameters:,}" if row.training else DASH),
    Column("training rows", "cost", lambda row: f"{row.training.rows:,}" if row.training else DASH),
    Column("steps", "cost", lambda row: _count(row.training.steps) if row.training else DASH),
    Column("training time", "cost", lambda row: duration(row.training.seconds) if row.training else DASH),
    Column("prompts/s", "cost", lambda row: DASH if row.rows_per_second is None else f"{row.rows_per_second:.1f}"),
)
AGAINST = (
    "AUC difference [95 %]",
    "UAUC difference [95 %]",
    "users",
    "t",
    "p",
    "p, Holm",
    "W",
    "p (W)",
    "p (W), Holm",
)
"""The columns of the comparison with a baseline, behind the row's name."""


def spread(value: Number | None) -> str:
    """Write a mean over seeds with its standard deviation, where there is one."""
    if value is None:
        return DASH
    return number(value.mean) + ("" if value.sd is None else f" ± {number(value.sd)}")


def _count(value: int | None) -> str:
    return DASH if value is None else f"{value:,}"


def quoted(value: Quoted | None) -> str:
    """Write a paper's AUC and UAUC."""
    return DASH if value is None else f"{number(value.auc)}, {number(value.uauc)}"


def title(comparison: Comparison) -> str:
    """Return what the table is about."""
    return (
        f"{comparison.data}: {comparison.test_rows:,} test rows, {comparison.positives:,} positive;"
        f" warm by {comparison.warm_definition}"
    )


def lines(comparison: Comparison, group: Group | None = None) -> tuple[list[str], list[list[str]]]:
    """Return the heads and the rows' cells of the main table or a part of it, without columns that no row fills."""
    columns = [column for column in COLUMNS if group in (None, column.group)]
    columns = [column for column in columns if any(column.cell(row) != DASH for row in comparison.rows)]
    cells = [[row.label, *(column.cell(row) for column in columns)] for row in comparison.rows]
    return ["model", *(column.title for column in columns)], cells


def against_lines(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return heads and cells of the comparison with the baseline; no lines without one."""
    cells = []
    for row in comparison.rows:
        if (found := row.against) is not None:
            tests = [*tested(found.t, 2), *tested(found.wilcoxon, 1)]
            cells.append([row.label, gap(found.auc), gap(found.uauc), f"{found.users:,}", *tests])
    return [f"minus {comparison.baseline}", *AGAINST], cells


def gap(found: Gap) -> str:
    """Write a difference with its interval."""
    if found.value is None:
        return DASH
    ends = "" if found.interval is None else f" [{number(found.interval[0])}, {number(found.interval[1])}]"
    return f"{number(found.value)}{ends}"


def tested(found: Tested, digits: int) -> list[str]:
    """Write a test's statistic, its p-value and the corrected one."""
    statistic = DASH if found.statistic is None else f"{found.statistic:.{digits}f}"
    return [statistic, p_value(found.p), p_value(found.p_holm)]


def p_value(p: float | None) -> str:
    """Write a p-value with four digits, tiny ones as a bound."""
    if p is None:
        return DASH
    return "<.0001" if p < 0.0001 else number(p)


def notes(comparison: Comparison) -> list[str]:
    """Return the sentences below the tables."""
    result = []
    if any(len(row.runs) > 1 for row in comparison.rows):
        result.append("mean ± standard deviation over seeds")
    quotes = [found for row in comparison.rows for found in row.published.values()]
    if quotes:
        sources, theirs = _listed(found.source for found in quotes), _listed(found.llm for found in quotes)
        ours = _listed(row.llm for row in comparison.rows)
        result.append(
            f"published: {sources}; on all test rows of {comparison.data}; LLMs: theirs {theirs}, here {ours}"
        )
    for row in comparison.rows:
        if row.settings:
            result.append(f"{row.label}: {', '.join(f'{key}={value}' for key, value in row.settings.items())}")
    if comparison.baseline is not None:
        result.append(
            f"compared with {comparison.baseline}: of several seeds the mean of sigmoid(score); intervals: 95 %,"
            f" {comparison.draws:,} paired bootstrap draws over users; t and W (Wilcoxon): two-sided, over users' AUC;"
            " Holm: over the rows of the table"
        )
        for row in comparison.rows:
            if row.against is not None:
                found = (row.against.t.reason, row.against.wilcoxon.reason)
                result += [f"{row.label}: {reason}" for reason in dict.fromkeys(found) if reason]
    return result


def _listed(names: Iterable[str | None]) -> str:
    """Write names, each once, or that there is none."""
    return "; ".join(dict.fromkeys(name for name in names if name)) or "none"
