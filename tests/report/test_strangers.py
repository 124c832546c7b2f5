"""A run's folder may come from somebody else: nothing of it is run, resolved or believed without a look."""

import json

import polars as pl
import pytest

from recsys_lora.report.comparison import compare
from recsys_lora.report.runs import read_run
from recsys_lora.report.visual.page import of_run
from recsys_lora.utils.errors import UserError
from tests.report.runs import run_folder, task_of

TOKEN = "${oc.env:TOKEN}"


def compared(*folders, **options):
    return compare(folders, "a command", task_of, **options)


def test_interpolations_are_shown_as_they_stand(tmp_path, monkeypatch):
    monkeypatch.setenv("TOKEN", "s3cret")
    strange = run_folder(tmp_path / "strange", data__root=TOKEN, model__rank=TOKEN, seed=2)
    made = compared(strange, run_folder(tmp_path / "own"))
    record = json.dumps(made.as_json())
    assert TOKEN in record
    assert "s3cret" not in record
    assert "s3cret" not in of_run(read_run(strange))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", b"a: &a [x]\nb: *a\n"),
        ("config.yaml", b"- a\n"),
        ("config.yaml", b"\xff\xfe"),
        ("config.yaml", b""),
        ("config.yaml", b"model: [1]\ntrainer: 3\ncf: x\n"),
        ("config.yaml", b"model: !!python/object/apply:os.system ['touch ran']\n"),
        (".hydra/overrides.yaml", b"{}"),
        ("environment.json", b"{}"),
        ("environment.json", b"[]"),
        ("environment.json", b'{"hardware": {"gpus": 3}}'),
        ("environment.json", b"[" * 100_000),
        ("metrics.json", b"[" * 100_000),
        ("metrics.json", b'{"tasks": {}}'),
        ("metrics.json", b"\xff"),
    ],
)
def test_odd_records_are_one_line_or_of_no_account(tmp_path, monkeypatch, name, content):
    monkeypatch.chdir(tmp_path)
    folder = run_folder(tmp_path / "run")
    (folder / name).write_bytes(content)
    if content.startswith(b"model: [1]"):
        assert len(compared(folder).rows) == 1  # what a comparison groups by is whatever stands there
        return
    with pytest.raises(UserError) as refusal:
        compared(folder)
    line = str(refusal.value)
    assert line.startswith(str(folder / name))
    assert len(line.splitlines()) == 1
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda line: line["metrics"].update(other=line["metrics"].pop("auc")), "have other metrics than the whole"),
        (lambda line: line["parts"].pop("count"), "has other parts than the task"),
    ],
)
def test_metrics_that_are_not_the_same_on_all_rows_are_refused(tmp_path, change, said):
    path = run_folder(tmp_path / "run") / "metrics.json"
    metrics = json.loads(path.read_text())
    change(metrics["tasks"]["ctr"]["lines"][0])
    path.write_text(json.dumps(metrics))
    with pytest.raises(UserError, match=said):
        compared(tmp_path / "run")


def changed(folder, *columns):
    path = folder / "predictions_ctr.parquet"
    pl.read_parquet(path).with_columns(*columns).write_parquet(path)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ([-pl.col("score")], "predictions_ctr.parquet: its auc is 0."),
        ([(1 - pl.col("label")).alias("label")], "predictions_ctr.parquet: its auc is 0."),
        ([pl.lit(None, dtype=pl.Float64).alias("score")], "a value of score is missing or not a number"),
        ([pl.when(pl.int_range(pl.len()) > 3).then(pl.col("score")).otherwise(float("nan")).alias("score")], "score"),
        ([pl.lit("x").alias("score")], "predictions_ctr.parquet: "),
        ([pl.lit([1]).alias("label")], "predictions_ctr.parquet: "),
        ([pl.lit(None, dtype=pl.String).alias("user_id")], "a value of user_id is missing"),
    ],
)
def test_predictions_that_are_not_those_of_the_metrics_are_refused(tmp_path, columns, said):
    folder = run_folder(tmp_path / "run")
    changed(folder, *columns)
    with pytest.raises(UserError) as refusal:
        compared(folder)
    assert said in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


def test_so_are_rows_that_are_left_out(tmp_path):
    folder = run_folder(tmp_path / "run")
    path = folder / "predictions_ctr.parquet"
    pl.read_parquet(path).head(-1).write_parquet(path)
    with pytest.raises(UserError, match=r"its number of rows is \d+, metrics\.json beside it says \d+"):
        compared(folder)
