"""The view's panels show what W&B really got from runs: its names are read back from W&B's own files."""

import importlib.util
import json

import pytest

from recsys_lora.cli import wandb_report
from recsys_lora.report.flat import flat_metrics
from recsys_lora.report.metrics_json import read_metrics
from recsys_lora.report.wandb_view import Logged, PanelPlan, plan
from tests.jobs import SMALL, SMALL_TASKS, own_tables, run, write_tables
from tests.pipeline.test_loggers import OFFLINE, written


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    folder = tmp_path_factory.mktemp("view")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSYS_LORA_HOME", str(folder / "home"))
        given = write_tables(folder, *own_tables())
        run(folder / "runs" / "0", *SMALL, *OFFLINE, *given)
        run(folder / "runs" / "1", *SMALL_TASKS, "tasks=[ctr,rating]", *OFFLINE, *given)
    return folder / "runs"


def strings(value):
    if isinstance(value, dict):
        return [text for inner in value.values() for text in strings(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in strings(inner)]
    return [value] if isinstance(value, str) else []


def test_every_panel_shows_what_was_sent_and_everything_tested_is_shown(runs, tmp_path):
    pytest.importorskip("wandb_workspaces", reason="the extra wandb is not installed")
    wandb_report.main([str(runs), "--group", "everything", "--json", str(tmp_path / "view.json")])
    section = json.loads((tmp_path / "view.json").read_text())["section"]
    sent, config = {}, set()
    for folder in runs.iterdir():
        summary, keys, _, _ = written(folder)
        sent |= summary
        config |= keys
    configs = [panel["config"] for part in section["panelBankConfig"]["sections"] for panel in part["panels"]]
    shown = {name for one in configs for name in one.get("metrics", [])}
    axes = {one[axis].removeprefix("summary:") for one in configs for axis in ("xAxis", "yAxis") if one.get(axis)}
    assert (shown | axes) - {"_step"} <= set(sent)
    records = [flat_metrics(read_metrics(folder / "metrics.json")) for folder in runs.iterdir()]
    numbers = {f"test/{name}" for record in records for name, value in record.items() if value is not None}
    assert numbers - shown == {name for name in numbers if name.endswith(("/rows", "_users"))}
    assert {
        "test/ctr/auc",
        "test/ctr/uauc",
        "test/ctr/warm_auc",
        "test/rating/rmse",
        "valid/auc",
        "train/loss",
    } <= shown
    (runset,) = section["runSets"]
    assert runset["grouping"] == [{"section": "config", "name": "model.value.name"}]
    assert [(f["key"]["name"], f["value"]) for f in runset["filters"]["filters"]] == [("group", "everything")]
    assert {"model", "data", "cf", "seed"} <= config


def test_sections():
    names = (
        "test/ctr/rows",
        "test/ctr/auc",
        "test/ctr/warm_auc",
        "test/ctr/cold_auc",
        "test/topk/cold_mrr",
        "test/seconds/method",
    )
    assert plan(Logged(names, ("valid/auc", "train/lr"))) == {
        "Test": [PanelPlan("bar", ("test/ctr/auc",))],
        "Warm rows": [PanelPlan("bar", ("test/ctr/warm_auc",))],
        "Cold rows": [PanelPlan("bar", ("test/ctr/cold_auc",)), PanelPlan("bar", ("test/topk/cold_mrr",))],
        "Validation": [PanelPlan("line", ("valid/auc",))],
        "Training": [PanelPlan("line", ("train/lr",))],
        "Cost": [
            PanelPlan("bar", ("test/seconds/method",)),
            PanelPlan("scatter", ("test/seconds/method", "test/ctr/auc")),
        ],
    }


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as leaving:
        wandb_report.main(arguments)
    assert leaving.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_without_the_package_one_line_says_what_to_install(tmp_path, monkeypatch, capsys):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n == "wandb_workspaces" else real(n, *a))
    assert refusal(capsys, str(tmp_path)) == (
        "error: wandb_report: wandb-workspaces is not installed: pip install 'recsys-lora[wandb]'"
    )


def test_without_an_account_one_line_says_so(runs, tmp_path, monkeypatch, capsys):
    pytest.importorskip("wandb_workspaces", reason="the extra wandb is not installed")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert "error: wandb_report: no W&B account here: wandb login" in refusal(capsys, str(runs))


def test_a_folder_without_runs_is_one_line(tmp_path, capsys):
    pytest.importorskip("wandb_workspaces", reason="the extra wandb is not installed")
    assert refusal(capsys, str(tmp_path)).startswith(f"error: {tmp_path}: no run is in it")
