"""The three operations of preparing a table in DuckDB and in polars' streaming engine.

    python benchmarks/table_engines.py --rows 1000000 4000000

Exact duplicates, 5-core to its fixed point, and each user's rows by time with ties in random order, from a file of
gzipped JSON lines (`make_amazon_like.py`) to Parquet; in separate processes, in turn. DuckDB has the memory limit of
`recsys_lora.data.engine`; polars decides for itself. It first checks that both keep the same rows in the same order of
users and times. Peak memory is the resident set of the process. What counts is the cost and memory of DuckDB: a
file that does not fit into memory can be prepared, or it cannot.
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
from _table import Row

READ = """
import json, resource, sys, time
source, out = sys.argv[1:]
begun = time.monotonic()
"""
SAY = """
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": time.monotonic() - begun, "peak_mib": peak}))
"""
ENGINES = {
    "DuckDB": """
from pathlib import Path
from recsys_lora.data.engine import engine
from recsys_lora.data.filters import drop_duplicates, k_core
from recsys_lora.data.numbering import number_raw
from recsys_lora.data.schema import RawTables
with engine(Path(out)) as e:
    keys = "reviewerID: 'VARCHAR', asin: 'VARCHAR', overall: 'FLOAT', unixReviewTime: 'BIGINT'"
    e.run("CREATE TABLE interactions AS SELECT row_number() OVER () AS line, reviewerID AS user_id, asin AS item_id, "
          "overall AS rating, unixReviewTime AS timestamp FROM read_json('" + source + "', "
          "format = 'newline_delimited', columns = {" + keys + "}) WHERE timestamp IS NOT NULL")
    number_raw(e, RawTables())
    drop_duplicates(e, "exact")
    k_core(e, 5, 5)
    e.run("COPY (SELECT user_id, item_id, rating, timestamp FROM (SELECT * FROM rows JOIN raw_users USING (user) "
          "JOIN raw_items USING (item)) ORDER BY user_id, timestamp, md5_number_lower('0:' || line)) "
          "TO '" + out + "' (FORMAT parquet)")
""",
    "polars": """
import polars as pl
schema = {"reviewerID": pl.String, "asin": pl.String, "overall": pl.Float32, "unixReviewTime": pl.Int64}
pl.scan_ndjson(source, schema=schema).drop_nulls("unixReviewTime").with_row_index("line").sink_parquet(out + ".0")
keys = ["reviewerID", "asin", "overall", "unixReviewTime"]
pl.scan_parquet(out + ".0").unique(keys, keep="first").sink_parquet(out + ".1")
now, last, rows = 1, 0, None
while True:
    table = pl.scan_parquet(f"{out}.{now}")
    few = [table.group_by(key).len().filter(pl.col("len") < 5) for key in ("reviewerID", "asin")]
    table = table.join(few[0], on="reviewerID", how="anti").join(few[1], on="asin", how="anti")
    now = 3 - now
    table.sink_parquet(f"{out}.{now}")
    left = pl.scan_parquet(f"{out}.{now}").select(pl.len()).collect().item()
    if left == rows:
        break
    rows = left
ordered = pl.scan_parquet(f"{out}.{now}").with_columns(tie=pl.col("line").hash(0))
ordered.sort("reviewerID", "unixReviewTime", "tie").sink_parquet(out)
""",
}


def check(outs: Sequence[Path]) -> None:
    """Exit if the engines keep different rows, or a different order of users and times."""
    import polars as pl

    first, second = (pl.read_parquet(out) for out in outs)
    second = second.select(user_id="reviewerID", item_id="asin", rating="overall", timestamp="unixReviewTime")
    same_order = first.select("user_id", "timestamp").equals(second.select("user_id", "timestamp"))
    if not same_order or not first.sort(first.columns).equals(second.sort(first.columns)):
        sys.exit(f"the engines keep other rows: {len(first)} and {len(second)}")


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Measure and print."""
    parser = _timing.parser(__doc__, rounds=1)
    make_amazon_like.add_options(parser)
    options = parser.parse_args(argv)
    rows = []
    for count in options.rows:
        with tempfile.TemporaryDirectory() as scratch:
            folder, planted = make_amazon_like.made(options.folder or Path(scratch), count)
            outs = {engine: Path(scratch) / engine for engine in ENGINES}
            found: dict[str, list[dict[str, Any]]] = {engine: [] for engine in ENGINES}
            for _ in range(options.rounds):
                for engine, out in outs.items():
                    code = READ + ENGINES[engine] + SAY
                    found[engine].append(_timing.in_a_process(code, folder / "reviews.json.gz", out))
            check(list(outs.values()))
            rows += [row(engine, found, planted["lines"]) for engine in ENGINES]
    _table.report(rows, _table.environment(options, ("duckdb", "polars")), options)
    return rows


def row(engine: str, found: dict[str, list[dict[str, Any]]], lines: int) -> Row:
    """Return the line of one engine and size."""
    seconds = sorted(once["seconds"] for once in found[engine])
    ratios = sorted(
        other["seconds"] / ours["seconds"] for other, ours in zip(found[engine], found["DuckDB"], strict=True)
    )
    processor = statistics.median(once["processor_seconds"] for once in found[engine])
    return Row(
        case=engine,
        point=f"{lines:,} reviews",
        median_ms=statistics.median(seconds) * 1e3,
        low_ms=seconds[0] * 1e3,
        high_ms=seconds[-1] * 1e3,
        ratio=statistics.median(ratios),
        ratio_low=ratios[0],
        ratio_high=ratios[-1],
        peak_mib=max(once["peak_mib"] for once in found[engine]),
        note=f"{processor:.1f} s of processor",
    )


if __name__ == "__main__":
    main()
