"""Whole jobs in this process: what is made, what is made again and what never is."""

import json
import shutil
import signal

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from recsys_lora.config.edge import read_run
from recsys_lora.evaluation.baselines import PositiveShare
from recsys_lora.evaluation.stack import RIDGE
from recsys_lora.llm.tiny import TinySource
from recsys_lora.report.metrics_json import read_metrics
from recsys_lora.report.table import method_line
from recsys_lora.utils.errors import UserError
from tests.jobs import NO_METHOD, SMALL, composed, method_of, own_tables, run, write_tables
from tests.pipeline.place import Place, killed_at, same, weights

ANSWERS = ["test/cora-ctr-table", "test/cora-shuffled-ctr-table", "test/cora-valid-ctr-table"]


@pytest.fixture(scope="module")
def place(shared):
    return Place(shared, SMALL, write_tables(shared / "tables", *own_tables()))


@pytest.fixture(scope="module")
def first(place):
    """A finished job of CoRA."""
    return place.run()


# What a run leaves


def test_a_run_folder_holds_all_that_the_run_was(place, first):
    _, folder = first
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "artifacts.json",
        "config.yaml",
        "environment.json",
        "metrics.json",
        "metrics.csv",
        "table.md",
        "predictions_ctr.parquet",
        "lines_ctr.parquet",
        "report.html",
        "cf/metrics.csv",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
    }
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config == read_run(composed(*SMALL, *place.named, run=folder)).as_dict()
    assert "${" not in (folder / "config.yaml").read_text()
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__
    assert {"git", "command", "python", "hardware"} <= environment.keys()


def test_the_numbers_are_those_of_the_predictions(place, first):
    outcome, folder = first
    written = read_metrics(folder / "metrics.json")
    assert written == outcome.metrics
    rows = pl.read_parquet(folder / "predictions_ctr.parquet")
    numbers = method_of(written)
    for part, found in (
        (rows, numbers),
        (rows.filter("warm_seen"), numbers["warm"]),
        (rows.filter(~pl.col("warm_seen")), numbers["cold"]),
    ):
        assert found["auc"] == pytest.approx(roc_auc_score(part["label"], part["score"]), abs=1e-9)
        users = [user for _, user in part.group_by("user_id") if user["label"].n_unique() == 2]
        if users:
            own = [roc_auc_score(user["label"], user["score"]) for user in users]
            assert found["uauc"] == pytest.approx(sum(own) / len(own), abs=1e-9)
    block = written["tasks"]["ctr"]
    assert (block["rows"], block["positives"]) == (len(rows), rows["label"].sum())
    assert block["parts"]["seen"]["warm"] == rows["warm_seen"].sum()
    assert method_line(block)["metrics"]["uauc"]["users"] > 3


def test_predictions_carry_raw_ids_and_labels(place, first):
    _, folder = first
    rows = pl.read_parquet(folder / "predictions_ctr.parquet")
    interactions, items = own_tables()
    joined = rows.join(interactions, on=["user_id", "item_id"], how="left", maintain_order="left")
    assert rows.height == 40
    assert rows["split"].unique().to_list() == ["test"]
    assert (joined["rating"] >= 4).cast(pl.Int8).to_list() == rows["label"].to_list()
    cold = pl.Series([item == items["item_id"][-1] for item in rows["item_id"]])
    assert rows["warm_seen"].to_list() == (~cold).to_list()
    assert 0 < cold.sum() < 40


def test_the_table_compares_on_the_same_rows(place, first):
    outcome, folder = first
    block = outcome.metrics["tasks"]["ctr"]
    lines = [(line["name"], line["role"], line["sample"]) for line in block["lines"]]
    assert lines == [
        ("constant", "baseline", False),
        ("popularity", "baseline", False),
        ("item_mean", "baseline", False),
        ("user_share", "baseline", False),
        ("item_user", "baseline", False),
        ("sasrec", "cf", False),
        ("frozen LLM", "frozen_llm", False),
        ("cora", "method", False),
        ("stack without cora", "stack", False),
        ("stack with cora", "stack", False),
        ("cora", "method", True),
        ("cora, users shuffled", "method_shuffled", True),
    ]
    assert (block["rows"], block["sample_rows"]) == (40, 16)
    table = (folder / "table.md").read_text()
    assert all(name in table for name, _, _ in lines)


def test_the_stacks_are_fitted_on_validation_answers(place, first):
    outcome, _ = first
    block = outcome.metrics["tasks"]["ctr"]
    without, included = (block["stacks"][f"stack {which} cora"] for which in ("without", "with"))
    assert list(without["weights"]) == ["item_mean", "user_share", "sasrec"]
    assert list(included["weights"]) == ["item_mean", "user_share", "sasrec", "cora"]
    [answers] = (place.folder / "home" / "artifacts" / "test").glob("cora-valid-*/predictions.parquet")
    valid = pl.read_parquet(answers)
    assert valid["split"].unique().to_list() == ["valid"]
    assert len(valid) == without["rows"] == included["rows"]
    data, encoder = outcome.data, outcome.collaborative
    rows, train = data.every.take(valid["row"].to_numpy()), data.rows("train")
    counted = [
        PositiveShare.fit(ids, train.label, largest).score(asked)
        for ids, asked, largest in ((train.item, rows.item, data.num_items), (train.user, rows.user, data.num_users))
    ]
    x = np.column_stack([*counted, encoder.score(data, rows), valid["score"].to_numpy()])
    spread = np.where(x.std(axis=0) > 0, x.std(axis=0), 1)
    oracle = LogisticRegression(C=1 / RIDGE, tol=1e-10, max_iter=5000).fit((x - x.mean(axis=0)) / spread, rows.label)
    np.testing.assert_allclose(list(included["weights"].values()), oracle.coef_[0], atol=1e-3)
    compared = {(d["first"], d["second"]) for d in block["differences"]}
    assert {("cora", "stack without cora"), ("stack with cora", "stack without cora")} <= compared
    assert ("cora", "stack with cora") not in compared


def test_curves_hold_training_and_validation(place, first):
    curve = pl.read_csv(first[1] / "metrics.csv")
    assert curve["valid/auc"].drop_nulls().len() >= 2
    assert {"train/loss", "train/lr", "train/grad_norm"} <= set(curve.columns)
    assert curve["step"].to_list() == [0, 1, 2]


def test_labels_of_a_run_reach_its_record(place, first):
    outcome, _ = place.run("tags=[rank,ablation]", "name=mine")
    assert outcome.metrics["tags"] == ["rank", "ablation"]
    assert outcome.metrics["name"] == "mine"


# What is reused


def test_a_second_run_makes_nothing_and_says_the_same(place, first):
    before = place.artifacts()
    assert sorted(name.rsplit("-", 1)[0] for name in before) == [
        "cf/sasrec-table",
        "method/cora-table",
        "prepare/table",
        "test/cora-ctr-table",
        "test/cora-shuffled-ctr-table",
        "test/cora-valid-ctr-table",
        "test/frozen_llm-ctr-table",
    ]
    again, _ = place.run()
    assert place.artifacts() == before
    assert again.method.key == first[0].method.key
    assert method_of(again.metrics) == method_of(first[0].metrics)


@pytest.mark.parametrize(
    ("override", "made"),
    [
        ("model.rank=2", ["method/cora-table", *ANSWERS]),
        ("seed=2", ["cf/sasrec-table", "method/cora-table", *ANSWERS]),
        ("data.test_rows=20", ["test/cora-ctr-table", "test/cora-shuffled-ctr-table", "test/frozen_llm-ctr-table"]),
        ("evaluation.warm=count", []),
        ("name=another", []),
        (
            "model.prompt.history_items=2",
            ["method/cora-table", *ANSWERS, "test/frozen_llm-ctr-table"],
        ),
    ],
)
def test_a_changed_option_makes_anew_what_depends_on_it_and_nothing_else(place, first, override, made):
    assert place.made_by(override) == made


@pytest.mark.parametrize("override", ["data.positive=5", "data.split.train=0.7"])
def test_a_changed_data_option_reuses_nothing(place, first, override):
    assert place.made_by(override) == [
        "cf/sasrec-table",
        "method/cora-table",
        "prepare/table",
        "test/cora-ctr-table",
        "test/cora-shuffled-ctr-table",
        "test/cora-valid-ctr-table",
        "test/frozen_llm-ctr-table",
    ]


def test_a_changed_file_reuses_nothing(place, first, tmp_path):
    interactions, items = own_tables()
    named = write_tables(tmp_path, interactions.head(len(interactions) - 1), items)
    assert "cf/sasrec-table" in place.made_by(*named)


def test_which_checkpoint_is_kept_is_part_of_the_method(place, first):
    assert "method/cora-table" in place.made_by("callbacks.checkpoint.monitor=valid/uauc")


def test_a_forced_stage_is_made_again_and_comes_out_the_same(place, first):
    outcome, _ = first
    home = place.folder / "home" / "artifacts"
    encoder = next(home.glob(f"cf/*-{outcome.collaborative.key}")) / "encoder.safetensors"
    trained = next(home.glob(f"method/*-{outcome.method.key}")) / "trained.ckpt"
    before = encoder.read_bytes(), weights(trained)
    assert place.made_by("stage.force=[cf,method]") == ["cf/sasrec-table", "method/cora-table"]
    assert encoder.read_bytes() == before[0]
    assert same(weights(trained), before[1])


# Other models


@pytest.mark.parametrize("name", ["mf", "lightgcn", "sasrec", "din"])
def test_an_encoder_alone_needs_no_language_model(place, name, monkeypatch):
    def refused(*_, **__):
        raise AssertionError("the language model was loaded")

    monkeypatch.setattr(TinySource, "load", refused)
    outcome, folder = place.run("model=cf", f"cf={name}", base=NO_METHOD)
    assert outcome.method is None
    assert outcome.collaborative.name == name
    lines = [line["name"] for line in outcome.metrics["tasks"]["ctr"]["lines"]]
    stacks = [f"stack without {name}", f"stack with {name}"]
    assert lines == ["constant", "popularity", "item_mean", "user_share", "item_user", name, *stacks]
    assert outcome.metrics["llm"] is None
    assert pl.read_parquet(folder / "predictions_ctr.parquet").height == 40
    assert not (folder / "checkpoints").exists()


def test_an_encoder_alone_is_the_one_that_the_method_uses(place, first):
    outcome, _ = place.run("row=sasrec", base=NO_METHOD)
    assert outcome.collaborative.key == first[0].collaborative.key


def test_the_frozen_model_alone_fits_and_trains_nothing(place, first):
    base = tuple(override for override in NO_METHOD if not override.startswith("cf."))
    assert place.made_by("model=zero_shot", "data.sample_seed=1", base=base) == [
        "test/zero_shot-ctr-table",
        "test/zero_shot-valid-ctr-table",
    ]


# Without training, and from checkpoints


def test_without_training_a_finished_method_is_tested(place, first):
    before = place.artifacts()
    outcome, folder = place.run("train=false")
    assert place.artifacts() == before
    assert method_of(outcome.metrics) == method_of(first[0].metrics)
    assert not (folder / "checkpoints").exists()


@pytest.mark.parametrize("other", ["model.rank=3", "stage.force=[method]", "cf.train_share=0.5"])
def test_without_training_a_method_that_is_not_there_is_missed_before_anything_is_fitted(place, first, other):
    before = place.artifacts()
    with pytest.raises(UserError, match=r"^train=false: the cache holds no trained method of these settings: give ckp"):
        place.run("train=false", other)
    assert place.artifacts() == before


def test_without_testing_there_are_no_results(place, first):
    outcome, folder = place.run("test=false")
    assert outcome.metrics is None
    assert not (folder / "metrics.json").exists()


def test_a_checkpoint_is_tested_as_it_is(place, first):
    outcome, folder = first
    tested, _ = place.run("train=false", f"ckpt_path={folder / 'checkpoints' / 'best.ckpt'}")
    assert method_of(tested.metrics) == method_of(outcome.metrics)
    assert same(tested.method.module.generator.state_dict(), outcome.method.module.generator.state_dict())


def test_another_checkpoint_under_the_same_path_is_tested_anew(place, first, tmp_path):
    outcome, folder = first
    path = tmp_path / "model.ckpt"
    shutil.copy(folder / "checkpoints" / "best.ckpt", path)
    place.run("train=false", f"ckpt_path={path}")
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"] = {
        name: value + 0.5 if value.is_floating_point() else value for name, value in checkpoint["state_dict"].items()
    }
    torch.save(checkpoint, path)
    other, _ = place.run("train=false", f"ckpt_path={path}")
    assert method_of(other.metrics)["log_loss"] != method_of(outcome.metrics)["log_loss"]
    scaled, _ = place.run("train=false", f"ckpt_path={path}", "model.alpha=1")
    assert method_of(scaled.metrics)["log_loss"] != method_of(other.metrics)["log_loss"]


@pytest.mark.parametrize("train", ["true", "false"])
@pytest.mark.parametrize(
    ("override", "part", "values"),
    [
        ("llm.init_seed=7", "backbone", ("seed 0", "seed 7")),
        ("data.positive=5", "data", ()),
        ("cf.encoder.blocks=1", "encoder", ()),
    ],
)
def test_a_checkpoint_of_something_else_is_refused_and_both_are_named(place, first, override, part, values, train):
    path, before = first[1] / "checkpoints" / "last.ckpt", place.artifacts()
    with pytest.raises(UserError) as refusal:
        place.run(f"train={train}", f"ckpt_path={path}", override)
    assert {name.split("/")[0] for name in place.artifacts().keys() - before.keys()} <= {"prepare"}
    message = str(refusal.value)
    assert f"the checkpoint belongs to another {part}" in message
    assert all(value in message for value in values)
    assert len(message.splitlines()) == 1


def test_training_cannot_go_on_from_weights_alone(place, first):
    outcome, _ = first
    trained = next((place.folder / "home" / "artifacts").glob(f"method/*-{outcome.method.key}")) / "trained.ckpt"
    with pytest.raises(UserError, match=r"trained\.ckpt: holds weights alone"):
        place.run(f"ckpt_path={trained}")
    tested, _ = place.run("train=false", f"ckpt_path={trained}")
    assert method_of(tested.metrics) == method_of(outcome.metrics)


def test_a_checkpoint_of_an_earlier_run_in_the_folder_is_not_taken_for_this_one(place, first, tmp_path):
    folder = tmp_path / "run"
    run(folder, *SMALL, *place.named, "seed=21")
    outcome = run(folder, *SMALL, *place.named, "seed=22", "trainer.limit_val_batches=0")
    last = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    kept = next((place.folder / "home" / "artifacts").glob(f"method/*-{outcome.method.key}")) / "trained.ckpt"
    assert same(weights(kept), last)


def test_without_the_checkpoint_callback_nothing_is_trained(place, first):
    with pytest.raises(UserError, match=r"callbacks\.checkpoint is left out"):
        place.run("~callbacks.checkpoint", "seed=23")


# Interrupted


def test_what_went_on_from_other_settings_is_not_taken_for_the_run_without_them(place, first):
    last = first[1] / "checkpoints" / "last.ckpt"
    settings = ("trainer.max_epochs=2", "model.optimizer.lr=0.01")
    mixed, _ = place.run(*settings, f"ckpt_path={last}")
    clean, _ = place.run(*settings)
    assert mixed.method.training["steps"] == clean.method.training["steps"] == 6
    assert not same(mixed.method.module.generator.state_dict(), clean.method.module.generator.state_dict())


def test_an_interrupt_is_an_interrupt_and_nothing_half_made_is_kept(place, first, monkeypatch):
    handler = signal.getsignal(signal.SIGINT)
    before = place.artifacts()
    try:
        with monkeypatch.context() as patch:
            killed_at(1, patch, KeyboardInterrupt)
            with pytest.raises(KeyboardInterrupt):
                place.run("seed=12", "cf.fit.lr=0.004")
    finally:
        signal.signal(signal.SIGINT, handler)
    made = {name.rsplit("-", 1)[0] for name in place.artifacts().keys() - before.keys()}
    assert made == {"cf/sasrec-table"}
    assert place.made_by("seed=12", "cf.fit.lr=0.004") == ["method/cora-table", *ANSWERS]
