"""The table at the end of a run: every line scored on the same rows, for the terminal and for the run folder."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

DASH = "–"
Block = Mapping[str, Any]


def cell(block: Block, metric: str) -> str:
    """Write a metric as `.7012 [.690, .712]`, with its interval where there is one; a dash where it is undefined."""
    value = block[metric]
    if value is None:
        return DASH
    interval = block.get("intervals", {}).get(metric)
    return number(value) + (f" [{number(interval[0], 3)}, {number(interval[1], 3)}]" if interval else "")


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV under the keys of all of them; what a row does not have is empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def number(value: float, digits: int = 4) -> str:
    """Write a number with so many digits behind the point and no zero before it."""
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def header(lines: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the columns, what they show and over how many rows or users, which all lines share."""
    block = lines[0]["metrics"]
    definition, warm, cold = block["warm_definition"], block["warm"]["rows"], block["cold"]["rows"]
    return [
        (f"{block['rows']:,} rows", ""),
        ("AUC [95 %]", ""),
        ("UAUC [95 %]", f"{block['uauc_users']:,} users"),
        ("log loss", ""),
        ("warm AUC, UAUC", f"{definition}, {warm:,} rows"),
        ("cold AUC, UAUC", f"{cold:,} rows"),
    ]


def cells(line: Mapping[str, Any]) -> list[str]:
    """Return a line as text."""
    block = line["metrics"]
    whole, warm, cold = ({**part, "intervals": {}} for part in (block, block["warm"], block["cold"]))
    pairs = [f"{cell(part, 'auc')}, {cell(part, 'uauc')}" for part in (warm, cold)]
    return [line["name"], cell(block, "auc"), cell(block, "uauc"), cell(whole, "log_loss"), *pairs]


def sections(metrics: Mapping[str, Any]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Return the title and lines of each part of the table: on all rows, and on the sample."""
    lines = metrics["lines"]
    parts = [(f"{metrics['name']}: test of {metrics['data']}", [line for line in lines if not line["sample"]])]
    if sample := metrics["sample"]:
        title = f"on a sample of {sample['rows']:,} of these rows (seed {sample['seed']})"
        parts.append((title, [line for line in lines if line["sample"]]))
    for title, part in parts:
        if len({(line["metrics"]["rows"], line["metrics"]["positives"]) for line in part}) > 1:
            raise ValueError(f"{title}: the lines are not about the same rows")
    return [(title, part) for title, part in parts if part]


def rich_tables(metrics: Mapping[str, Any]) -> list[Table]:
    """Return the table as Rich renders it, a part each."""
    result = []
    for title, lines in sections(metrics):
        table = Table(title=title, title_justify="left")
        for index, parts in enumerate(header(lines)):
            first = index == 0
            table.add_column("\n".join(parts), justify="left" if first else "right", no_wrap=not first, overflow="fold")
        for line in lines:
            table.add_row(*cells(line), style="bold" if line["role"] == "method" else "")
        result.append(table)
    return result


def markdown(metrics: Mapping[str, Any]) -> str:
    """Return the table as Markdown, with paired differences and what is undefined below it."""
    text = []
    for title, lines in sections(metrics):
        columns = [f"{what} ({over})" if over else what for what, over in header(lines)]
        text += [f"**{title}**", "", _row(columns), _row(["---", *["---:"] * (len(columns) - 1)])]
        text += [_row(cells(line)) for line in lines] + [""]
    text += [f"- {line}" for line in notes(metrics)]
    return "\n".join(text).rstrip() + "\n"


def notes(metrics: Mapping[str, Any]) -> list[str]:
    """Return the sentences below the table: paired differences, and why a metric has a dash."""
    result = []
    for difference in metrics["differences"]:
        low, high = difference["interval"]
        result.append(
            f"{difference['first']} minus {difference['second']}, {difference['metric'].upper().replace('_', ' ')}:"
            f" {number(difference['value'])} [{number(low)}, {number(high)}], paired over users"
        )
    if metrics["draws"]:
        result.append(f"intervals: 95 %, {metrics['draws']:,} bootstrap draws over users")
    for _, lines in sections(metrics):
        block = lines[0]["metrics"]
        for part, values in (("all", block), ("warm", block["warm"]), ("cold", block["cold"])):
            result += [f"{name} of {part} rows: {reason}" for name, reason in values["undefined"].items()]
    return list(dict.fromkeys(result))


def _row(values: Sequence[str]) -> str:
    return "| " + " | ".join(value.replace("|", "\\|") for value in values) + " |"
