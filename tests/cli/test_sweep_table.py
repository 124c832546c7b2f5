"""A multirun ends with one table: what differs between its jobs beside what came out."""

import csv
import json
import tarfile

import pytest
from omegaconf import OmegaConf

from recsys_lora.cli.status import STATUS, Status
from recsys_lora.cli.sweep_table import CSV_FILE, TABLE_FILE, SweepTable, publish, read_jobs
from recsys_lora.report.table import cell
from recsys_lora.utils.files import write_json
from tests.report.examples import record


def job(folder, number, overrides, metrics=None):
    place = folder / str(number)
    (place / ".hydra").mkdir(parents=True)
    OmegaConf.save(OmegaConf.create(overrides), place / ".hydra" / "overrides.yaml")
    if metrics is not None:
        (place / "metrics.json").write_text(json.dumps(metrics))


@pytest.fixture
def sweep(tmp_path):
    """Three jobs, of which the last did not finish; twelve would sort wrongly as text."""
    job(tmp_path, 0, ["model=ckf", "seed=1", "tasks=[ctr,rating]"], record())
    job(tmp_path, 2, ["model=ckf", "seed=2", "tasks=[ctr]"], record())
    job(tmp_path, 12, ["model=ckf", "+seed=3"])
    return tmp_path


def test_the_table_shows_what_differs_and_what_came_out(sweep):
    publish(sweep)
    lines = [line.strip("| ").split(" | ") for line in (sweep / TABLE_FILE).read_text().splitlines()]
    assert lines[0][:3] == ["job", "seed", "tasks"]
    assert "model" not in lines[0]
    own = next(line for line in record()["tasks"]["rating"]["lines"] if line["role"] == "method")
    assert lines[2][lines[0].index("rating MAE")] == cell(own["metrics"]["mae"])
    assert [line[1] for line in lines[2:]] == ["1", "2", "3"]


def suffixed(metrics):
    return {f"{name}_neg4": value for name, value in metrics.items()}


def test_metrics_are_called_as_in_all_tables(tmp_path):
    metrics = record()
    for line in metrics["tasks"]["ctr"]["lines"]:
        line["metrics"] = suffixed(line["metrics"])
        line["parts"] = {
            definition: {part: suffixed(values) for part, values in parts.items()}
            for definition, parts in line["parts"].items()
        }
    job(tmp_path, 0, ["seed=1"], metrics)
    publish(tmp_path)
    heads = (tmp_path / TABLE_FILE).read_text().splitlines()[0]
    assert "| ctr AUC_neg4 | ctr UAUC_neg4 |" in heads


def test_a_job_that_failed_says_why_and_one_that_did_not_finish_so(sweep):
    write_json(sweep / "2" / STATUS, vars(Status("failed", [], "no file")))
    publish(sweep)
    rows = list(csv.DictReader((sweep / CSV_FILE).open()))
    assert [row["status"] for row in rows] == ["finished", "failed", "not finished"]
    assert rows[1]["error"] == "no file"
    assert all(f"| {state} |" in (sweep / TABLE_FILE).read_text() for state in ("failed: no file", "not finished"))


def test_a_job_that_was_not_started_is_named(sweep):
    write_json(sweep / "13" / STATUS, vars(Status("failed", ["model=ckf", "seed=4"], "not started: no time")))
    assert (read_jobs(sweep)[-1].overrides, read_jobs(sweep)[-1].error) == (
        {"model": "ckf", "seed": "4"},
        "not started: no time",
    )


def test_the_end_of_a_sweep_leaves_the_archive_that_is_asked_for(sweep, tmp_path_factory):
    target = tmp_path_factory.mktemp("away") / "results.tgz"
    (sweep / "0" / "last.ckpt").write_text("weights")
    config = {"hydra": {"sweep": {"dir": str(sweep)}, "launcher": {"archive": str(target)}}}
    SweepTable().on_multirun_end(OmegaConf.create(config))
    with tarfile.open(target) as archive:
        names = {name.removeprefix(f"{sweep.name}/") for name in archive.getnames()}
    assert {"0/metrics.json", "0/.hydra/overrides.yaml", "12/.hydra/overrides.yaml", TABLE_FILE, CSV_FILE} <= names
    assert not [name for name in names if name.endswith(".ckpt")]


def test_a_sweep_in_which_every_job_failed_has_a_table(tmp_path):
    job(tmp_path, 0, ["seed=1"])
    job(tmp_path, 1, ["seed=2"])
    write_json(tmp_path / "1" / STATUS, vars(Status("failed", [], "no file")))
    publish(tmp_path)
    lines = (tmp_path / TABLE_FILE).read_text().splitlines()
    assert lines[0] == "| job | seed | result |"
    assert lines[2:] == ["| 0 | 1 | not finished |", "| 1 | 2 | failed: no file |"]


def test_the_file_has_every_metric_of_every_part(sweep):
    publish(sweep)
    row = next(iter(csv.DictReader((sweep / CSV_FILE).open())))
    for name, block in record()["tasks"].items():
        own = next(line for line in block["lines"] if line["role"] == "method" and not line["sample"])
        parts = {"": own["metrics"], **{f"{part}_": own["parts"]["seen"][part] for part in ("warm", "cold")}}
        for prefix, metrics in parts.items():
            for metric, value in metrics.items():
                found = row[f"{name}/{prefix}{metric}"]
                assert (float(found) if found else None) == value["value"]
