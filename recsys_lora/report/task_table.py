"""The tables of several tasks, one a task, every line on the same questions: for the terminal and the run folder."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from recsys_lora.report.table import DASH, number

Block = Mapping[str, Any]


def cell(metric: Mapping[str, Any]) -> str:
    """Write a metric as `.7012 [.690, .712]`, with its interval where there is one; a dash where it is undefined."""
    if metric["value"] is None:
        return DASH
    interval = metric["interval"]
    return number(metric["value"]) + (f" [{number(interval[0], 3)}, {number(interval[1], 3)}]" if interval else "")


def stacked(text: str) -> Text:
    """Return a cell for the terminal: its interval below its value, and brackets that are no markup."""
    value, bracket, rest = text.partition(" [")
    return Text(f"{value}\n[{rest}" if bracket else text)


def sections(tasks: Mapping[str, Block]) -> list[tuple[str, list[str], list[list[str]], list[bool]]]:
    """Return title, columns, lines as text, and which lines are the method's, of each part of each task's table."""
    result = []
    for name, block in tasks.items():
        for sample in (False, True):
            lines = [line for line in block["lines"] if line["sample"] == sample]
            if not lines:
                continue
            rows = block["sample_rows"] if sample else block["rows"]
            title = f"{name}: {rows:,} questions" + (
                " (a sample of these)" if sample else f" of {block['users']:,} users"
            )
            metrics = list(lines[0]["metrics"])
            own = [line["role"] == "method" for line in lines]
            result.append((title, [name, *metrics], [_cells(line, metrics) for line in lines], own))
    return result


def warm_and_cold(name: str, block: Block) -> tuple[str, list[str], list[list[str]], list[bool]]:
    """Return one task's table of warm and cold questions, in the form of `sections`."""
    lines = [line for line in block["lines"] if not line["sample"]]
    metrics = list(lines[0]["metrics"])
    definition, warm, cold = block["warm_definition"], block["warm_rows"], block["cold_rows"]
    columns = [name, *(f"{metric} warm" for metric in metrics), *(f"{metric} cold" for metric in metrics)]
    cells = [
        [line["name"], *(cell(line[part][metric]) for part in ("warm", "cold") for metric in metrics)] for line in lines
    ]
    title = f"{name}: {warm:,} warm ({definition}) and {cold:,} cold questions"
    return title, columns, cells, [line["role"] == "method" for line in lines]


def compared(name: str, block: Block) -> tuple[str, list[str], list[list[str]], list[bool]]:
    """Return one task's table of the method minus each other line, in the form of `sections`."""
    metrics = list(block["lines"][0]["metrics"])
    found = {(d["first"], d["second"], d["sample"], d["metric"]): d for d in block["differences"]}
    pairs = list(dict.fromkeys(key[:3] for key in found))
    cells = [
        [f"{first} minus {second}", *(_difference(found.get((first, second, sample, metric))) for metric in metrics)]
        for first, second, sample in pairs
    ]
    return f"{name}: paired differences", [name, *metrics], cells, [False] * len(pairs)


def rich_tables(tasks: Mapping[str, Block]) -> list[Table]:
    """Return the tables as Rich renders them."""
    result = []
    for title, columns, lines, own in sections(tasks):
        table = Table(title=title, title_justify="left")
        for index, column in enumerate(columns):
            first = index == 0
            table.add_column(
                column, justify="left" if first else "right", min_width=16 if first else 5, overflow="fold"
            )
        for line, bold in zip(lines, own, strict=True):
            table.add_row(*map(stacked, line), style="bold" if bold else "")
        result.append(table)
    return result


def markdown(tasks: Mapping[str, Block], draws: int) -> str:
    """Return all tables as Markdown, those of warm and cold questions and the paired differences included."""
    text = []
    more = (made(name, block) for name, block in tasks.items() for made in (compared, warm_and_cold))
    for title, columns, lines, _ in [*sections(tasks), *more]:
        text += [f"**{title}**", "", _row(columns), _row(["---", *["---:"] * (len(columns) - 1)])]
        text += [_row(line) for line in lines] + [""]
    text += [f"- {note}" for note in notes(tasks, draws, all_parts=True)]
    return "\n".join(text).rstrip() + "\n"


def notes(tasks: Mapping[str, Block], draws: int, all_parts: bool = False) -> list[str]:
    """Return the sentences below the tables: how the method compares by each first metric, and why one has a dash.

    Args:
        tasks: each task's block.
        draws: bootstrap draws behind the intervals.
        all_parts: say so of warm and cold questions, too.
    """
    result = []
    for name, block in tasks.items():
        main = next(iter(block["lines"][0]["metrics"]))
        for d in block["differences"]:
            if d["metric"] == main:
                told_apart = not d["interval"][0] <= 0 <= d["interval"][1]
                verdict = ("better" if d["better"] else "worse") if told_apart else "not told apart"
                result.append(f"{name}: {d['first']} minus {d['second']}, {main}: {_difference(d)}: {verdict}")
        result += [f"{name}: {metric}: {remark}" for metric, remark in block["remarks"].items()]
        result += _reasons(name, block, warm_and_cold=all_parts)
    if draws:
        result.append(f"intervals: 95 %, {draws:,} bootstrap draws over users; differences are paired over users")
    return list(dict.fromkeys(result))


def _difference(difference: Mapping[str, Any] | None) -> str:
    if difference is None:
        return DASH
    low, high = (number(end) for end in difference["interval"])
    return f"{number(difference['value'])} [{low}, {high}]"


def _reasons(name: str, block: Block, warm_and_cold: bool) -> list[str]:
    parts = {"metrics": "", **({"warm": ", warm questions", "cold": ", cold questions"} if warm_and_cold else {})}
    return [
        f"{name}: {metric} of {line['name']}{words}: {value['reason']}"
        for part, words in parts.items()
        for line in block["lines"]
        if part == "metrics" or not line["sample"]
        for metric, value in line[part].items()
        if value["value"] is None
    ]


def _cells(line: Mapping[str, Any], metrics: Sequence[str]) -> list[str]:
    return [line["name"], *(cell(line["metrics"][metric]) for metric in metrics)]


def _row(values: Sequence[str]) -> str:
    return "| " + " | ".join(value.replace("|", "\\|") for value in values) + " |"
