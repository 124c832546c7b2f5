"""Every row of the papers' tables runs as it is named, on the same test rows as all others."""

import polars as pl
import pytest

from recsys_lora.config.paths import options
from recsys_lora.report.metrics_json import read_metrics
from tests.jobs import NO_METHOD, run

COLLABORATIVE = ("collm", "cora", "binllm", "person_prompt", "graphlora")


@pytest.mark.parametrize("row", options("row"))
def test_a_row_runs_and_reports(place, row):
    folder, tables = place
    run(folder / row, *NO_METHOD, *tables, f"row={row}")
    metrics = read_metrics(folder / row / "metrics.json")
    model, cf = row.rsplit("_", 1) if row.startswith(("collm_", "cora_")) else (row, "")
    assert metrics["model"] == model
    assert not cf or metrics["cf"] == cf
    lines = metrics["tasks"]["ctr"]["lines"]
    roles = [line["role"] for line in lines]
    assert [line["role"] for line in lines if not line["sample"]].count("method") == 1
    assert ("method_shuffled" in roles) == model.startswith(COLLABORATIVE)
    predictions = pl.read_parquet(folder / row / "predictions_ctr.parquet").sort("user_id", "item_id")
    assert predictions["score"].is_finite().all()
    same = folder / "asked.parquet"
    asked = predictions.select("user_id", "item_id", "label")
    if same.exists():
        assert asked.equals(pl.read_parquet(same))
    else:
        asked.write_parquet(same)
