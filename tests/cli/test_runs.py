"""`recsys-lora runs`: the list of a folder's runs."""

import os

import pytest

from recsys_lora.cli.folders import hold, leave
from recsys_lora.cli.runs import HEADS, lines, listed, main
from recsys_lora.cli.status import FAILED, FINISHED, RUNNING, Status, write_status
from recsys_lora.report.metrics_json import read_metrics
from recsys_lora.report.table import method_line, number
from tests.report.runs import run_folder


@pytest.fixture
def runs(tmp_path):
    """Return a folder of runs of all kinds, the later named the newer."""
    for age, name in enumerate(["finished", "by_python", "failed", "stopped", "sweep/0", "damaged"]):
        folder = run_folder(tmp_path / name, seed=age + 1)
        state = {"failed": FAILED, "stopped": RUNNING, "sweep/0": RUNNING}.get(name, FINISHED)
        if name != "by_python":
            write_status(folder, Status(state, ["seed=1"], "the reason" if state == FAILED else None))
        if state != FINISHED:
            (folder / "metrics.json").unlink()
        if name == "damaged":
            (folder / "metrics.json").write_text("{}")
        for path in (folder, folder / "status.json"):
            if path.exists():
                os.utime(path, (1e9 + 1000 * age, 1e9 + 1000 * age))
    return tmp_path


def test_runs_are_listed_newest_first_with_how_they_stand(runs):
    hold(runs / "sweep" / "0")
    try:
        found = listed(runs)
    finally:
        leave(runs / "sweep" / "0")
    assert [(run.folder.name, run.status) for run in found] == [
        ("damaged", "unreadable"),
        ("0", "running"),
        ("stopped", "stopped"),
        ("failed", "failed"),
        ("by_python", "finished"),
        ("finished", "finished"),
    ]
    metrics = read_metrics(runs / "finished" / "metrics.json")
    assert found[-1].auc == method_line(metrics["tasks"]["ctr"])["metrics"]["auc"]["value"]
    assert (found[-1].model, found[-1].data) == ("cora-mf", "ml_1m")
    assert (found[2].model, found[2].data, found[2].auc) == ("cora", "ml_1m", None)
    assert found[-1].seconds == sum(metrics["seconds"].values())


def test_a_run_on_sampled_negatives_has_its_auc_under_another_name(runs):
    file = runs / "finished" / "metrics.json"
    before = listed(runs)[-1].auc
    file.write_text(file.read_text().replace('"auc"', '"auc_neg4"').replace('"uauc"', '"uauc_neg4"'))
    assert listed(runs)[-1].auc == before is not None


def test_a_line_a_run_in_columns_and_the_reason_below(runs, capsys):
    main([str(runs)])
    shown = capsys.readouterr().out.splitlines()
    assert shown == lines(listed(runs))
    assert shown[0].split() == list(HEADS)
    failed = next(place for place, line in enumerate(shown) if line.endswith(str(runs / "failed")))
    assert shown[failed + 1].strip() == "the reason"
    [finished] = [line for line in shown if line.endswith(str(runs / "finished"))]
    assert number(listed(runs)[-1].auc) in finished
    starts = {line.index(str(runs)) for line in shown[1:] if str(runs) in line and not line.startswith(" ")}
    assert starts == {shown[0].index("run", shown[0].index("seconds"))}


@pytest.mark.parametrize(
    ("config", "status", "model"),
    [
        ("model: {name: '${oc.env:TOKEN}'}\ndata: {name: a}\n", "not tested", "${oc.env:TOKEN}"),
        ("model: 3\n", "not tested", None),
        ("a: &a [x]\nb: *a\n", "unreadable", None),
        ("a: [", "unreadable", None),
    ],
)
def test_a_stranger_s_config_is_shown_as_it_is_or_passed_over(tmp_path, monkeypatch, config, status, model):
    monkeypatch.setenv("TOKEN", "s3cret")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(config)
    [run] = listed(tmp_path)
    assert (run.status, run.model) == (status, model)
    assert "s3cret" not in "\n".join(lines([run]))


def test_listing_writes_nothing(runs):
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    listed(runs)
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before


@pytest.mark.parametrize(("name", "said"), [("nowhere", "no such folder"), (".", "no run is in it")])
def test_a_mistake_is_one_line(tmp_path, name, said, capsys):
    with pytest.raises(SystemExit) as left:
        main([str(tmp_path / name)])
    assert left.value.code == 2
    assert said in capsys.readouterr().err
