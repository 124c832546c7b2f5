"""The tables at the end of a run, one per task, all lines on the same questions, on the terminal and in the folder."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recsys_lora.utils.words import counted

DASH = "–"
MAIN = 2
"""Number of main metrics: the first ones, which tables also show on warm and cold questions."""
_ACRONYMS = ("auc", "uauc", "mae", "rmse", "mrr", "bleu")
Block = Mapping[str, Any]


@dataclass(frozen=True)
class Grid:
    """A table as text.

    Attributes:
        title: title above it.
        columns: column headings.
        cells: the lines.
        own: which lines are the method's.
    """

    title: str
    columns: list[str]
    cells: list[list[str]]
    own: list[bool]


def cell(metric: Block) -> str:
    """Format a metric as `.7012 [.690, .712]`, with its interval if there is one; a dash if it is undefined."""
    if metric["value"] is None:
        return DASH
    interval = metric["interval"]
    return number(metric["value"]) + (f" [{number(interval[0], 3)}, {number(interval[1], 3)}]" if interval else "")


def number(value: float, digits: int = 4) -> str:
    """Format a number with `digits` decimals and without a leading zero."""
    text = f"{value:z.{digits}f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def shown(metric: str) -> str:
    """Return the name of a metric in tables: `AUC` for auc, `log loss` for log_loss, `AUC_neg4` for auc_neg4."""
    if metric.startswith("log_loss"):
        return metric.replace("_", " ", 1)
    name, joint, rest = metric.partition("_")
    return f"{name.upper()}{joint}{rest}" if name in _ACRONYMS else metric


def method_line(block: Block) -> Block:
    """Return the line of the method on all questions in a task's table."""
    line: Block = next(line for line in block["lines"] if line["role"] == "method" and not line["sample"])
    return line


def grids(tasks: Mapping[str, Block], title: str, brief: bool = False) -> Iterator[Grid]:
    """Yield each task's tables: on all questions, and on the sample.

    Args:
        tasks: the block of each task.
        title: title of the run.
        brief: omit intervals except for the main metrics, and warm and cold if there are no questions of one kind.
    """
    for name, block in tasks.items():
        for sample in (False, True):
            lines = [line for line in block["lines"] if line["sample"] == sample]
            if not lines:
                continue
            rows = block["sample_rows"] if sample else block["rows"]
            of = "a sample of these" if sample else f"{counted(block['users'], 'user')}"
            parts = not brief or all(block["parts"][block["warm_definition"]].values())
            cells = [[line["name"], *_cells(line, brief), *(_parts(line, block) if parts else ())] for line in lines]
            heads = [name, *_heads(lines[0]), *(_part_heads(lines[0], block) if parts else ())]
            own = [line["role"] == "method" for line in lines]
            yield Grid(f"{title}: {name}, {counted(rows, 'question')} ({of})", heads, cells, own)


def _heads(line: Block) -> list[str]:
    over = {name: f" ({counted(m['users'], 'user')})" for name, m in line["metrics"].items() if m["users"] is not None}
    return [f"{shown(name)}{over.get(name, '')}" for name in line["metrics"]]


def _part_heads(line: Block, block: Block) -> list[str]:
    definition = block["warm_definition"]
    main, sizes = ", ".join(map(shown, list(line["metrics"])[:MAIN])), block["parts"][definition]
    if line["sample"]:
        return [f"{part} {main}" for part in ("warm", "cold")]
    return [f"warm {main} ({definition}, {sizes['warm']:,})", f"cold {main} ({sizes['cold']:,})"]


def _cells(line: Block, brief: bool) -> list[str]:
    main = list(line["metrics"])[:MAIN]
    return [
        cell(found if not brief or name in main else {**found, "interval": None})
        for name, found in line["metrics"].items()
    ]


def _parts(line: Block, block: Block) -> list[str]:
    parts, main = line["parts"][block["warm_definition"]], list(line["metrics"])[:MAIN]
    return [", ".join(cell({**parts[part][name], "interval": None}) for name in main) for part in ("warm", "cold")]


def warm_and_cold(name: str, block: Block) -> Grid:
    """Return one task's table of every metric on warm and cold questions."""
    lines = [line for line in block["lines"] if not line["sample"]]
    metrics, definition = list(lines[0]["metrics"]), block["warm_definition"]
    sizes = block["parts"][definition]
    columns = [name, *(f"{shown(metric)} {part}" for part in ("warm", "cold") for metric in metrics)]
    cells = [
        [
            line["name"],
            *(cell(line["parts"][definition][part][metric]) for part in ("warm", "cold") for metric in metrics),
        ]
        for line in lines
    ]
    title = f"{name}: {sizes['warm']:,} warm ({definition}) and {counted(sizes['cold'], 'cold question')}"
    return Grid(title, columns, cells, [line["role"] == "method" for line in lines])


def compared(name: str, block: Block, brief: bool = False) -> Grid:
    """Return one task's table of the method minus each other line, in all metrics; brief: main ones, fewer digits."""
    metrics = list(block["lines"][0]["metrics"])[: MAIN if brief else None]
    digits = 3 if brief else 4
    found = {(d["first"], d["second"], d["sample"], d["metric"]): d for d in block["differences"]}
    pairs = list(dict.fromkeys(key[:3] for key in found))
    cells = [
        [f"{first} minus {second}", *(_difference(found.get((first, second, sample, m)), digits) for m in metrics)]
        for first, second, sample in pairs
    ]
    return Grid(f"{name}: paired differences", [name, *map(shown, metrics)], cells, [False] * len(pairs))


def markdown(tasks: Mapping[str, Block], draws: int, title: str) -> str:
    """Return all tables as Markdown, including those of warm and cold questions and of paired differences."""
    text = []
    more = (made(name, block) for name, block in tasks.items() for made in (compared, warm_and_cold))
    for grid in [*grids(tasks, title), *more]:
        text += [f"**{grid.title}**", "", *markdown_table(grid.columns, grid.cells), ""]
    text += [f"- {note}" for note in notes(tasks, draws, all_parts=True)]
    return "\n".join(text).rstrip() + "\n"


def notes(tasks: Mapping[str, Block], draws: int, all_parts: bool = False) -> list[str]:
    """Return the sentences below the tables: noise of the metrics, weights of stacks, reasons for dashes.

    Args:
        tasks: the block of each task.
        draws: bootstrap draws behind the intervals.
        all_parts: also give the reasons for warm and cold questions.
    """
    result: list[str] = []
    for name, block in tasks.items():
        main = list(method_line(block)["metrics"])[:MAIN]
        result += _noise(name, block, main)
        result += [_stack(name, *stack) for stack in block["stacks"].items()]
        result += [f"{name}: {metric}: {remark}" for metric, remark in block["remarks"].items()]
        result += _reasons(name, block, all_parts)
    if draws:
        result.append(
            f"intervals: 95 %, {counted(draws, 'bootstrap draw')} over users; differences are paired over users"
        )
    return list(dict.fromkeys(result))


def _noise(name: str, block: Block, main: Sequence[str]) -> Iterator[str]:
    """Yield how far a method's metrics would vary on as many other users."""
    line = method_line(block)
    errors = {metric: line["metrics"][metric]["standard_error"] for metric in main}
    written = ", ".join(f"{shown(metric)} {number(error)}" for metric, error in errors.items() if error is not None)
    if written:
        yield (
            f"{name}: standard error of {line['name']}: {written}; differences of up to three standard errors between "
            "runs on different users are noise"
        )


def _stack(name: str, line: str, stack: Block) -> str:
    weights = ", ".join(f"{score} {number(weight, 2)}" for score, weight in stack["weights"].items())
    return f"{name}: {line}, fitted on {counted(stack['rows'], 'validation question')}, weights: {weights}"


def _difference(difference: Block | None, digits: int) -> str:
    if difference is None:
        return DASH
    low, high = difference["interval"]
    verdict = "" if low <= 0 <= high else " better" if difference["better"] else " worse"
    return f"{number(difference['value'])} [{number(low, digits)}, {number(high, digits)}]{verdict}"


def _reasons(name: str, block: Block, all_parts: bool) -> Iterator[str]:
    """Yield why metrics have no value: once for all metrics and lines that share a reason."""
    lines = [line for line in block["lines"] if not line["sample"]]
    missing: dict[tuple[str, str, str], list[str]] = {}
    for line in lines:
        parts = line["parts"][block["warm_definition"]]
        named = {"": line["metrics"], **({f" of {part} questions": parts[part] for part in parts} if all_parts else {})}
        for words, metrics in named.items():
            for metric, value in metrics.items():
                if value["value"] is None:
                    missing.setdefault((words, metric, value["reason"]), []).append(line["name"])
    alike: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for (words, metric, reason), names in missing.items():
        alike.setdefault((words, reason, tuple(names)), []).append(shown(metric))
    for (words, reason, whose), shared in alike.items():
        of = "" if len(whose) == len(lines) else f" ({', '.join(whose)})"
        yield f"{name}: {', '.join(shared)}{words}{of}: {reason}"


def markdown_table(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table in Markdown: names aligned left, numbers right."""
    body = [heads, ["---", *["---:"] * (len(heads) - 1)], *cells]
    return ["| " + " | ".join(escaped(cell) for cell in line) + " |" for line in body]


def escaped(text: str) -> str:
    """Escape a text for a table in Markdown."""
    return text.replace("|", "\\|").replace("<", "&lt;")
