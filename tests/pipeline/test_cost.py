"""What training and scoring took is written, kept with what is cached, and compared."""

import pytest
from omegaconf import OmegaConf

from recsys_lora.pipeline.built_tasks import task_of
from recsys_lora.report.comparison import compare
from recsys_lora.report.metrics_json import read_metrics
from tests.jobs import NO_METHOD, SMALL, method_of, run


@pytest.fixture(scope="module")
def runs(place):
    """Four runs on one cache: CoRA, the same again, the frozen model, and the CF model alone."""
    folder, named = place
    no_cf = tuple(override for override in NO_METHOD if not override.startswith("cf."))
    wanted = {
        "first": SMALL,
        "again": SMALL,
        "frozen": (*no_cf, "model=zero_shot"),
        "cf": (*NO_METHOD, "row=mf"),
    }
    outcomes = {name: run(folder / name, *overrides, *named) for name, overrides in wanted.items()}
    for name, overrides in wanted.items():
        (folder / name / ".hydra").mkdir()
        OmegaConf.save(OmegaConf.create([*overrides, *named]), folder / name / ".hydra" / "overrides.yaml")
    return folder, outcomes


def test_training_tells_its_sizes_and_its_time(runs):
    folder, outcomes = runs
    found = read_metrics(folder / "first" / "metrics.json")["training"]
    module = outcomes["first"].method.module
    trained = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    assert (found["trained_parameters"], found["rows"], found["valid_rows"]) == (trained, 24, 24)
    assert found["steps"] == 3  # 24 rows, 8 a step
    assert found["seconds"] > 0
    assert not found["reused"]


def test_a_reused_result_tells_what_it_took(runs):
    folder, _ = runs
    first, again = (read_metrics(folder / name / "metrics.json") for name in ("first", "again"))
    assert again["training"] == first["training"] | {"reused": True}
    first, again = (metrics["tasks"]["ctr"] for metrics in (first, again))
    assert again["scoring"] == first["scoring"]
    scoring = first["scoring"]
    assert scoring["rows"] == 40
    assert scoring["rows_per_second"] == pytest.approx(40 / scoring["seconds"], rel=0.02)


def test_what_trains_nothing_took_nothing(runs):
    folder, outcomes = runs
    metrics = read_metrics(folder / "frozen" / "metrics.json")
    frozen = sum(parameter.numel() for parameter in outcomes["frozen"].method.module.backbone.parameters())
    assert metrics["training"] == {
        "trained_parameters": 0,
        "frozen_parameters": frozen,
        "rows": 0,
        "valid_rows": 0,
        "steps": 0,
        "seconds": 0.0,
        "reused": False,
    }
    assert metrics["tasks"]["ctr"]["scoring"]["rows"] == 40
    alone = read_metrics(folder / "cf" / "metrics.json")
    assert alone["training"] is alone["tasks"]["ctr"]["scoring"] is None


def test_real_runs_are_compared(runs):
    folder, _ = runs
    made = compare([folder / name for name in ("first", "frozen", "cf")], "compare", task_of, baseline="mf", draws=10)
    baselines, rows = made.rows[:-3], made.rows[-3:]
    assert [row.label for row in rows] == ["cora-sasrec", "zero_shot", "mf"]
    assert [row.label for row in baselines] == ["constant", "popularity", "item_mean", "user_share", "item_user"]
    lines = {line["name"]: line for line in read_metrics(folder / "cf" / "metrics.json")["tasks"]["ctr"]["lines"]}
    for row in baselines:
        assert row.tasks["ctr"].metrics["auc"].mean == lines[row.label]["metrics"]["auc"]["value"]
    numbers = [method_of(read_metrics(folder / name / "metrics.json")) for name in ("first", "frozen", "cf")]
    own = [row.tasks["ctr"] for row in rows]
    assert [row.metrics["auc"].mean for row in own] == [found["auc"] for found in numbers]
    for row, found in zip(own[:2], numbers[:2], strict=True):
        for name in ("auc", "uauc", "log_loss"):
            assert row.against.gaps[name].value == pytest.approx(found[name] - numbers[2][name])
        assert row.against.users == row.users["uauc"]
