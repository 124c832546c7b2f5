"""Output of the benchmarks: a line on the environment, one table, and the same as JSON.

    python benchmarks/_table.py docs/performance.md     # make a page's tables again from their records

A table of the page is between the lines `<!-- bench: FILE.json -->` and `<!-- /bench -->`.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Aim:
    """A target set before anything was measured.

    Attributes:
        value: the limit.
        side: the side of the limit on which a result should be.
        of: quantity with the limit: `ratio` to the reference, or `ms`.
    """

    value: float
    side: Literal["at most", "at least"] = "at least"
    of: Literal["ratio", "ms"] = "ratio"

    def __str__(self) -> str:
        unit = "ms" if self.of == "ms" else ""
        return f"{'<=' if self.side == 'at most' else '>='} {self.value:g}{unit}"


@dataclass(frozen=True)
class Row:
    """One line of a table: time in milliseconds and ratio, each with quartiles over rounds; memory in MiB.

    Attributes:
        case: what was timed.
        point: shapes of a sweep; empty if there is only one.
        reference: the case that the ratio refers to.
        aim: target of the ratio or time.
        peak_mib: peak memory of the tensors that one step makes.
        note: remark on this line.
    """

    case: str
    median_ms: float
    low_ms: float
    high_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float
    point: str = ""
    reference: str = ""
    aim: Aim | None = None
    peak_mib: float | None = None
    note: str = ""


def environment(options: argparse.Namespace, packages: Sequence[str], **shapes: Any) -> dict[str, Any]:
    """Describe what was measured and where.

    Args:
        options: the command line.
        packages: packages whose versions matter; including torch if it is used.
        shapes: the benchmark's own shapes, like `B=8`.
    """
    import torch

    from recsys_lora.report.environment import package_version

    on_cuda = options.device.startswith("cuda")
    return {
        "device": torch.cuda.get_device_name(options.device) if on_cuda else _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        **shapes,
        "rounds": options.rounds,
        "clock": options.clock,
        **{name: package_version(name) for name in packages},
        "python": platform.python_version(),
        "commit": _commit(),
        "date": f"{date.today():%Y-%m-%d}",
    }


def _commit() -> str:
    """Return the commit of this checkout, with a plus if files differ from it."""
    import recsys_lora
    from recsys_lora.report.environment import git_state

    state = git_state(Path(recsys_lora.__file__).parent)
    return f"{state['commit'][:7]}{'+' if state['dirty'] else ''}" if state else "none"


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def report(rows: Sequence[Row], about: Mapping[str, Any], options: argparse.Namespace) -> None:
    """Print the table, and write it as JSON if requested."""
    print(said(about))
    lines, names = _lines(rows)
    widths = {name: max(len(name), *(len(line[name]) for line in lines)) for name in names}
    for line in [{name: name for name in names}, *lines]:
        cells = (
            line[name].ljust(widths[name]) if name in ("point", "case", "note") else line[name].rjust(widths[name])
            for name in names
        )
        print("  ".join(cells).rstrip())
    if options.json:
        record = {"about": dict(about), "results": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(record, indent=2, default=str) + "\n")


def report_counts(
    columns: Sequence[str], lines: Sequence[Sequence[str]], about: Mapping[str, Any], options: argparse.Namespace
) -> None:
    """Print a table of counts whose first column says what was counted, and write it as JSON if requested."""
    print(said(about))
    widths = [max(map(len, cells)) for cells in zip(columns, *lines, strict=True)]
    for line in (columns, *lines):
        cells = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
        print("  ".join([line[0].ljust(widths[0]), *cells[1:]]))
    if options.json:
        record = {"about": dict(about), "columns": list(columns), "lines": [list(line) for line in lines]}
        options.json.write_text(json.dumps(record, indent=2, default=str) + "\n")


def said(about: Mapping[str, Any]) -> str:
    """Return the description of the measurement as one line."""
    return ", ".join(f"{key} {' '.join(value) if isinstance(value, list) else value}" for key, value in about.items())


def page_table(record: Path) -> str:
    """Return a record's table as Markdown, with the description of the measurement below."""
    kept = json.loads(record.read_text())
    if "columns" in kept:
        aligned = ["---", *("---:" for _ in kept["columns"][1:])]
        table = [kept["columns"], aligned, *kept["lines"]]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in table) + f"\n\n{said(kept['about'])}\n"
    rows = [Row(**{**row, "aim": row["aim"] and Aim(**row["aim"])}) for row in kept["results"]]
    lines, names = _lines(rows)
    left = ("point", "case", "note")
    table = [
        names,
        ["---" if name in left else "---:" for name in names],
        *([line[n] for n in names] for line in lines),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in table) + f"\n\n{said(kept['about'])}\n"


def _lines(rows: Sequence[Row]) -> tuple[list[dict[str, str]], list[str]]:
    """Return the cells of each row, and the columns that are not empty."""
    lines = [_cells(row) for row in rows]
    return lines, [name for name in lines[0] if any(line[name] for line in lines)]


def _cells(row: Row) -> dict[str, str]:
    places = 2 if row.median_ms < 10 else 1 if row.median_ms < 1000 else 0
    return {
        "point": row.point,
        "case": row.case,
        "median ms": f"{row.median_ms:.{places}f}",
        "quartiles ms": f"{row.low_ms:.{places}f} - {row.high_ms:.{places}f}",
        "ratio": f"{row.ratio:.3g}" if row.ratio >= 10 else f"{row.ratio:.3f}",
        "quartiles": f"{row.ratio_low:.3g} - {row.ratio_high:.3g}",
        "aim": str(row.aim) if row.aim else "",
        "peak MiB": f"{row.peak_mib:.1f}" if row.peak_mib is not None else "",
        "note": row.note,
    }


if __name__ == "__main__":
    from recsys_lora.report.page import rewrite

    print(f"tables made anew: {rewrite(Path(sys.argv[1]), 'bench', page_table)}")
