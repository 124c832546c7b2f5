"""What people get wrong is answered with one line that says what, where and what to do; nothing half made is kept."""

import errno
import logging
import re
from pathlib import Path

import polars as pl
import pytest
import safetensors.torch
import torch

from recsys_lora.config.edge import read_preparation
from recsys_lora.data import prepare
from recsys_lora.methods.base import LLMRecommender
from recsys_lora.pipeline.preparation import run_preparation
from recsys_lora.report.table import method_line
from recsys_lora.utils.errors import UserError
from tests.jobs import NO_METHOD, SMALL, composed, method_of, own_tables, run, write_tables
from tests.pipeline.place import Killed

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def tables(tmp_path):
    return write_tables(tmp_path / "tables", *own_tables(users=8))


def refused(folder: Path, *overrides: str) -> str:
    """Run a job that is refused; returns the one line."""
    with pytest.raises(UserError) as refusal:
        run(folder / "run", *overrides)
    line = str(refusal.value)
    assert len(line.splitlines()) == 1
    assert not half_made(folder)
    return line


def half_made(folder: Path) -> list[Path]:
    return list(folder.rglob("*.tmp"))


def artifacts(folder: Path) -> set[str]:
    return {path.parent.parent.name for path in (folder / "home").rglob("artifact.json")}


# Tables

GOOD = "user_id,item_id,rating,timestamp\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", r"ratings\.csv: the file is empty"),
        (GOOD, r"ratings\.csv: has a header and no rows"),
        ("user_id,item_id,rating\nu,i,5\n", r"ratings\.csv: no column 'timestamp' .*data\.columns\.timestamp="),
        ("user,item_id,rating,timestamp\nu,i,5,1\n", r"no column 'user_id'.*data\.columns\.user_id=user"),
        (GOOD + "u,i,5,1\nu,j,great,2\n", r"ratings\.csv, line 3: rating is 'great', not a number: correct or remove"),
        (GOOD + "u,i,5,1\nu,j,inf,2\n", r"ratings\.csv, line 3: rating is 'inf', not a number"),
        (GOOD + "u,i,5,1\nu,j,4\n", r"ratings\.csv, line 3: 3 fields where the header has 4"),
        (GOOD + "ü,i,5,1\n", r"ratings\.csv, line 2: byte 0xfc is not utf-8: .*data\.reader\.encoding=latin-1"),
        (GOOD + "u,i,5,1\n", r"data=table: every row of the train split \(1\) is positive at data\.positive=4"),
        (GOOD + "u,i,5,1\nu,j,1,2\n", r"data=table: the valid split is empty: choose another data\.split"),
    ],
)
def test_a_table_that_cannot_be_used(tmp_path, content, words):
    path = tmp_path / "ratings.csv"
    path.write_bytes(content.encode("latin-1"))
    assert re.search(words, refused(tmp_path, *SMALL, f"data.interactions={path}"))
    assert artifacts(tmp_path) == set()


def test_no_table_and_no_such_table(tmp_path):
    assert "data.interactions=FILE" in refused(tmp_path, *SMALL)
    line = refused(tmp_path, *SMALL, f"data.interactions={tmp_path / 'x.csv'}")
    assert "x.csv: no such file: correct data.interactions" in line


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (
            "data.reader.encoding=utf-9",
            r"^data\.reader\.encoding=utf-9: no such .*: try utf-8, latin-1 or cp1252$",
        ),
        ("data.reader.where=x", r"^data\.reader\.where=x: Input should be names and values, as \{name: value\}$"),
        ("data.train_rows=1", r"^train rows: all 1 have the label .* data\.train_rows so that both labels occur"),
        ("data.valid_rows=1", r"^valid rows: all 1 have the label .* data\.valid_rows so that both labels occur"),
        ("llm.context=16", "does not fit into .*choose a backbone with a longer context"),
        ("model.optimizer.lr=1e20", r"^valid/loss is .*lower the learning rate \(model\.optimizer\.lr\)"),
    ],
)
def test_an_option_that_cannot_be_used(tmp_path, tables, override, words):
    assert re.search(words, refused(tmp_path, *SMALL, *tables, override))


def test_the_right_encoding_reads_the_file(tmp_path):
    interactions, _ = own_tables(users=8)
    path = tmp_path / "ratings.csv"
    path.write_bytes(interactions.write_csv().replace("u1,", "ü1,").encode("latin-1"))
    overrides = (f"data.interactions={path}", "data.reader.encoding=latin-1", "row=mf")
    outcome = run(tmp_path / "run", *NO_METHOD, *overrides)
    assert "ü1" in outcome.data.raw_user_ids


def test_a_service_without_an_account_is_refused_before_anything_is_made(tmp_path, tables, monkeypatch):
    pytest.importorskip("wandb")
    for variable in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb_config"))
    assert "logger.wandb.mode=offline" in refused(tmp_path, *SMALL, *tables, "logger=wandb")
    assert not artifacts(tmp_path)


def test_copies_of_rows_are_dropped_and_said(tmp_path, caplog):
    interactions, items = own_tables(users=8)
    named = write_tables(tmp_path / "tables", pl.concat([interactions, interactions.head(7)]), items)
    with caplog.at_level(logging.INFO):
        outcome = run(tmp_path / "run", *NO_METHOD, *named, "row=mf")
    assert len(outcome.data.interactions) == len(interactions)
    assert any("dropped 7 rows" in message for message in caplog.messages)


@pytest.mark.parametrize("rating", [5.0, 1.0])
def test_one_class_only(tmp_path, rating):
    interactions, items = own_tables(users=8)
    named = write_tables(tmp_path / "tables", interactions.with_columns(rating=pl.lit(rating)), items)
    line = refused(tmp_path, *SMALL, *named)
    assert f"AUC needs both classes: every rating is {rating:g}, so say that there is none" in line
    assert "data=table: every row of the train split" in line


def test_test_rows_of_one_class_have_no_auc_and_say_why(tmp_path, tables):
    outcome = run(tmp_path / "run", *NO_METHOD, *tables, "row=mf", "data.test_rows=1")
    auc = method_line(outcome.metrics["tasks"]["ctr"])["metrics"]["auc"]
    assert auc["value"] is None
    assert "one class only" in auc["reason"]


def test_items_without_titles_are_refused_by_name_by_what_reads_titles(tmp_path):
    interactions, _ = own_tables(users=8)
    named = write_tables(tmp_path / "tables", interactions, None)
    for model in (SMALL, (*NO_METHOD, "model=zero_shot")):
        line = refused(tmp_path, *model, *named)
        assert line.startswith("data=table has no titles")
        assert "choose model=cf, or give the items a title" in line
    assert method_of(run(tmp_path / "mf", *NO_METHOD, *named, "row=mf").metrics)["rows"] == 24


def test_users_without_history_and_unseen_ones_are_scored(tmp_path):
    interactions, items = own_tables(users=8)
    # One likes nothing, up to the last day; another is there in the last row alone, which is a test row.
    dull = interactions.filter(pl.col("user_id") == "u3").with_columns(rating=pl.lit(1.0))
    dull = pl.concat([dull.head(-1), dull.tail(1).with_columns(timestamp=pl.lit(10**6, pl.Int64))])
    late = interactions.filter(pl.col("user_id") == "u4").tail(1).with_columns(timestamp=pl.lit(10**6, pl.Int64))
    rest = interactions.filter(~pl.col("user_id").is_in(["u3", "u4"]))
    named = write_tables(tmp_path / "tables", pl.concat([rest, dull, late]), items)
    outcome = run(tmp_path / "run", *SMALL, *named, "data/split=global_time", "data.test_rows=null")
    scored = pl.read_parquet(tmp_path / "run" / "predictions_ctr.parquet")
    assert scored.filter(pl.col("user_id") == "u4").height == 1
    assert scored["score"].is_finite().all()
    positions = {
        outcome.data.raw_user_ids[user]: position for user, position in zip(*places(outcome.data), strict=True)
    }
    assert positions["u3"] == positions["u4"] == 0


def places(data) -> tuple[list[int], list[int]]:
    """Return the users of the test rows and how many positives each had before."""
    rows = data.rows("test")
    return rows.user.tolist(), rows.position.tolist()


def test_ugly_titles_go_through(tmp_path):
    interactions, items = own_tables(users=8)
    ugly = ['say "hi", {title}', "line\nbreak\r\n\ttab", "x" * 2000, "</s><s>[PAD] <user>", "日本語 🎬 é", "   ", None]
    titles = [ugly[index % len(ugly)] for index in range(len(items))]
    named = write_tables(tmp_path / "tables", interactions, items.with_columns(title=pl.Series(titles)))
    outcome = run(tmp_path / "run", *SMALL, *named)
    assert outcome.data.titles[1:8].count(None) >= 1
    assert method_of(outcome.metrics)["rows"] == 24
    datamodule = outcome.method.datamodule
    prompts = datamodule.train.versions["text"].prompts
    tokenizer = outcome.method.module.backbone.tokenizer
    texts = [tokenizer.decode(prompts[index].tolist()) for index in range(len(prompts))]
    assert all(text.rstrip().endswith("#Answer:") for text in texts)
    special = set(tokenizer.all_special_ids)
    assert not any(special & set(prompts[index].tolist()) for index in range(len(prompts)))


# Backbones and prompts


def test_a_prompt_longer_than_the_context_loses_its_history_and_is_counted(tmp_path, tables, caplog):
    with caplog.at_level(logging.INFO):
        outcome = run(tmp_path / "run", *SMALL, *tables, "llm.context=72")
    assert any("prompts with a shortened history: " in message for message in caplog.messages)
    prompts = outcome.method.datamodule.train.versions["text"].prompts
    assert prompts.lengths.max() <= 72
    assert prompts.counts["prompts with a shortened history"] > 0
    tokenizer = outcome.method.module.backbone.tokenizer
    assert all(tokenizer.decode(prompts[i].tolist()).rstrip().endswith("#Answer:") for i in range(len(prompts)))


# Training


def test_a_loss_that_is_no_number_stops_with_the_batch_saved(tmp_path, tables, monkeypatch):
    original = LLMRecommender.training_step
    monkeypatch.setattr(
        LLMRecommender, "training_step", lambda self, batch, index: original(self, batch, index) * float("nan")
    )
    line = refused(tmp_path, *SMALL, *tables)
    assert "the loss is nan at step 0, the batch is saved there: lower the learning rate" in line
    saved = torch.load(tmp_path / "run" / "nan_batch_step0.pt", weights_only=True)
    [prompts] = saved["batch"]["versions"]["text"]
    assert prompts["input_ids"].shape[0] == 8
    assert artifacts(tmp_path) == {"prepare", "cf"}


def test_a_learning_rate_that_blows_up_is_said(tmp_path, tables):
    overrides = ("model.optimizer.lr=1e30", "data.train_rows=96", "trainer.max_epochs=3", "trainer.gradient_clip_val=0")
    line = refused(tmp_path, *SMALL, *tables, *overrides)
    assert "lower the learning rate" in line
    assert artifacts(tmp_path) == {"prepare", "cf"}


def test_weights_that_blow_up_in_the_step_before_a_validation_are_said(tmp_path, tables):
    line = refused(tmp_path, *SMALL, *tables, "model.optimizer.lr=1e20", "trainer.max_steps=1")
    assert re.match(r"valid/loss is (nan|inf) at step 1: the weights have blown up: lower the learning rate", line)
    assert artifacts(tmp_path) == {"prepare", "cf"}


def test_an_encoder_that_blows_up_is_said(tmp_path, tables):
    line = refused(tmp_path, *NO_METHOD, *tables, "row=mf", "cf.fit.lr=1e30", "cf.trainer.max_epochs=3")
    assert "cf.fit.lr" in line
    assert artifacts(tmp_path) == {"prepare"}


# Disks and interruptions


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def full_in_rust(*_, **__):
    raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize(
    ("place", "name", "error", "stage", "kept"),
    [
        ("recsys_lora.data.numbering", "write_items", full, "prepare", set()),
        ("recsys_lora.cf.fit", "save_file", full_in_rust, "cf", {"prepare"}),
        ("recsys_lora.pipeline.method", "write_bytes", full, "method", {"prepare", "cf"}),
        ("recsys_lora.pipeline.testing", "write_predictions", full, "test", {"prepare", "cf", "method"}),
    ],
)
def test_a_full_disk_names_the_folder_and_the_next_run_goes_on(
    tmp_path, tables, monkeypatch, place, name, error, stage, kept
):
    with monkeypatch.context() as patch:
        patch.setattr(f"{place}.{name}", error)
        line = refused(tmp_path, *SMALL, *tables)
    assert re.search(rf"home/artifacts/{stage}/.*: the disk is full \(\d+ MiB free\): make room and run again", line)
    assert artifacts(tmp_path) == kept
    assert method_of(run(tmp_path / "again", *SMALL, *tables).metrics)["rows"] == 24
    assert not half_made(tmp_path)


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


HARMS = [flipped, lambda path: path.write_bytes(path.read_bytes()[:-1]), Path.unlink]


def test_a_damaged_cache_is_made_anew_to_the_same_numbers(tmp_path, tables, caplog):
    whole = run(tmp_path / "whole", *SMALL, *tables)
    records = [*(tmp_path / "home" / "artifacts").glob("*/*/artifact.json")]
    assert {record.parent.parent.name for record in records} == {"prepare", "cf", "method", "test"}
    for number, harm in enumerate(HARMS):
        caplog.clear()
        for record in records:
            for path in sorted(record.parent.iterdir()):
                if path != record:
                    harm(path)
        again = run(tmp_path / str(number), *SMALL, *tables)
        for record in records:
            said = rf"{record.parent}: .* (has changed since it was written|is missing): it is made"
            assert re.search(said, caplog.text), number
        assert method_of(again.metrics) == method_of(whole.metrics)


def killed(*_, **__):
    raise Killed


def test_an_interrupted_prepare_completes_when_run_again(tmp_path, tables, monkeypatch, capsys):
    config = read_preparation(composed("data=table", *tables, f"out={tmp_path / 'out'}", config="prepare"))
    with monkeypatch.context() as patch:
        patch.setattr(prepare, "write_json", killed)
        with pytest.raises(Killed):
            run_preparation(config)
    assert artifacts(tmp_path) == set()
    assert not (tmp_path / "out").exists()
    run_preparation(config)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "interactions.parquet",
        "items.parquet",
        "users.parquet",
        "manifest.json",
    }
    printed = capsys.readouterr().out
    assert "table: 8 users, 30 items" in printed
    assert re.search(r"train\W+192\W+8\W", printed)


def test_prepare_never_replaces_a_folder_of_somebody_else(tmp_path, tables):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years")
    with pytest.raises(UserError, match=r"out: the folder is not empty and holds no prepared data"):
        run_preparation(read_preparation(composed("data=table", *tables, f"out={out}", config="prepare")))
    assert (out / "thesis.tex").read_text() == "years"
