"""Time and memory of preparing tables from a raw file.

    python benchmarks/prepare_tables.py --rows 1000000 4000000
    python benchmarks/prepare_tables.py --rows 16000000 --folder FOLDER

For each number of rows a synthetic category of Amazon reviews is generated (`make_amazon_like.py`) and prepared in its
own process: gzipped JSON lines and Python literals, exact duplicates dropped, 5-core to its fixed point, leave-last-out
with ties in seeded order. It first checks that as many rows were dropped as were planted. Times are of the whole
process; processor seconds do not depend on the load of the machine. Peak memory is the resident set of the process; the
ratio is to the target, 150,000 reviews a second on two cores. Files in `--folder` are kept and reused.
"""

import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _table
import _timing
import make_amazon_like
from _table import Aim, Row

AIM = 150_000
"""Reviews a second on two cores."""
SCRIPT = """
import resource, sys, json
from pathlib import Path
from recsys_lora.data.prepare import prepare
from recsys_lora.data.readers.amazon import AmazonReviews
from recsys_lora.data.split import LeaveLastOut

folder = Path(sys.argv[1])
reader = AmazonReviews("reviews.json.gz", "meta.json.gz", str(folder), text=False)
data = prepare(reader, LeaveLastOut(), name="made_up", positive=5, min_user_rows=5, min_item_rows=5,
               duplicates="exact", out=Path(sys.argv[2]))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"peak_mib": peak, "rows": data.manifest["rows_read"], "dropped": data.manifest["dropped"],
                  "splits": data.manifest["splits"]}))
"""


def check(found: dict[str, Any], planted: dict[str, int]) -> None:
    """Exit if the numbers of rows read or dropped differ from those planted."""
    dropped = {drop["reason"]: drop["rows"] for drop in found["dropped"]}
    broken = sum(rows for reason, rows in dropped.items() if reason.startswith("without"))
    copies = dropped.get("an exact copy of another row", 0)
    if broken != planted["broken"] or copies < planted["copies"] * 0.99:
        sys.exit(f"dropped {dropped}, planted {planted}")


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Measure and print."""
    parser = _timing.parser(__doc__, rounds=1)
    make_amazon_like.add_options(parser)
    options = parser.parse_args(argv)
    rows = []
    for count in options.rows:
        with tempfile.TemporaryDirectory() as scratch:
            folder, planted = make_amazon_like.made(options.folder or Path(scratch), count)
            found = [_timing.in_a_process(SCRIPT, folder, Path(scratch) / "out") for _ in range(options.rounds)]
            for once in found:
                check(once, planted)
            size = sum(file.stat().st_size for file in folder.glob("*.gz")) / 1e6
            rows.append(row(found, planted["lines"], size))
    _table.report(rows, _table.environment(options, ("duckdb",)), options)
    return rows


def row(found: list[dict[str, Any]], lines: int, megabytes: float) -> Row:
    """Return the line of one size."""
    seconds = sorted(once["seconds"] for once in found)
    middle = statistics.median(seconds)
    processor = statistics.median(once["processor_seconds"] for once in found)
    rate = lines / middle
    return Row(
        case="prepare",
        point=f"{lines:,} reviews",
        median_ms=middle * 1e3,
        low_ms=seconds[0] * 1e3,
        high_ms=seconds[-1] * 1e3,
        ratio=rate / AIM,
        ratio_low=lines / seconds[-1] / AIM,
        ratio_high=lines / seconds[0] / AIM,
        aim=Aim(1.0, "at least"),
        peak_mib=max(once["peak_mib"] for once in found),
        note=f"{rate:,.0f} reviews/s, {processor:.1f} s of processor, {megabytes:,.0f} MB packed",
    )


if __name__ == "__main__":
    main()
