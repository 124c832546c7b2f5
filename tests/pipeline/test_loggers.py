"""What a run was tested to be reaches the services in which runs are compared, also when nothing was trained."""

import json

import pytest

from recsys_lora.report.flat import flat_metrics, tables
from recsys_lora.report.metrics_json import read_metrics
from tests.callbacks.test_loggers import ended_records
from tests.jobs import NO_METHOD, SMALL, SMALL_TASKS, method_of, run

pytest.importorskip("wandb")
OFFLINE = ("logger=wandb", "logger.wandb.mode=offline", "group=everything")


def written(folder):
    """Return what W&B's files of a run hold: its summary, config keys, group, id, and the tables' files."""
    summary, config, runs = {}, set(), []
    files = sorted(folder.glob("wandb/offline-run-*/*.wandb"))
    for file in files:
        for record in ended_records(file):
            if record.HasField("run"):
                runs.append((record.run.run_id, record.run.run_group))
                config |= {item.key for item in record.run.config.update}
            config |= {item.key for item in record.config.update}
            for item in record.history.item:
                summary[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
    found = {path.name.partition("_")[0] for path in folder.glob("wandb/offline-run-*/files/media/table/test/*.json")}
    return summary, config, set(runs), found


@pytest.mark.parametrize(
    ("overrides", "shown"),
    [
        ((*NO_METHOD, "row=mf"), {"ctr", "predictions"}),
        (SMALL, {"ctr", "predictions"}),
        ((*SMALL_TASKS, "tasks=[rating]"), {"rating", "predictions"}),
    ],
    ids=["a CF model alone", "CoRA", "several tasks"],
)
def test_the_final_numbers_and_tables_are_in_one_run(place, tmp_path, overrides, shown):
    _, given = place
    run(tmp_path / "run", *overrides, *OFFLINE, *given)
    summary, config, runs, found = written(tmp_path / "run")
    expected = flat_metrics(read_metrics(tmp_path / "run" / "metrics.json"))
    for name, value in expected.items():
        if value is not None:
            assert summary[f"test/{name}"] == pytest.approx(value), name
    assert runs == {((tmp_path / "run" / "wandb_run_id.txt").read_text().strip(), "everything")}
    assert {"model", "data", "seed"} <= config
    assert shown <= {name.removesuffix(".table.json") for name in found} | {n.split("_")[0] for n in found}


def test_tables_have_every_line_of_the_run(place, tmp_path):
    _, given = place
    run(tmp_path / "run", *NO_METHOD, "row=mf", *given)
    metrics = read_metrics(tmp_path / "run" / "metrics.json")
    columns, lines = tables(metrics)["ctr"]
    assert columns == ["name", "role", "sample", "auc", "uauc", "log_loss"]
    names = [line[0] for line in lines]
    counted = ["constant", "popularity", "item_mean", "user_share", "item_user"]
    assert names == [*counted, "mf", "stack without mf", "stack with mf"]
    assert lines[names.index("mf")][3] == method_of(metrics)["auc"]
