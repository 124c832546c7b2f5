import csv
import importlib.util
import struct
import time

import pytest

from recsys_lora.callbacks import loggers
from recsys_lora.callbacks.loggers import CSVLog, close
from recsys_lora.callbacks.mlflow_log import mlflow
from recsys_lora.utils.errors import UserError
from tests.callbacks.tiny import Tiny, trainer

BLOCK = 32768


def table(folder):
    with (folder / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]


def test_columns_may_come_later_and_one_step_is_one_row(tmp_path):
    log = CSVLog(tmp_path)
    log.log_metrics({"a": 1.0}, 0)
    log.save()
    log.log_metrics({"a": 2.0}, 1)
    log.log_metrics({"b": 3.0}, 1)
    log.finalize("success")
    assert table(tmp_path) == [{"step": "0", "a": "1.0"}, {"step": "1", "a": "2.0", "b": "3.0"}]


def test_a_resumed_table_keeps_earlier_rows_and_drops_those_gone_through_again(tmp_path):
    first = CSVLog(tmp_path)
    for step in range(5):
        first.log_metrics({"a": float(step)}, step)
    first.save()
    second = CSVLog(tmp_path)
    second.log_metrics({"a": 30.0}, 3)
    second.save()
    assert [row["a"] for row in table(tmp_path)] == ["0.0", "1.0", "2.0", "30.0"]


def test_the_same_row_again_adds_nothing_and_another_of_its_step_is_one_more(tmp_path):
    log = CSVLog(tmp_path)
    log.log_metrics({"a": 1.0, "b": 2.0}, 0)
    log.log_metrics({"b": 2.0}, 0)
    log.log_metrics({"a": 1.0, "b": 3.0}, 0)
    log.save()
    assert [(row["step"], row["a"], row["b"]) for row in table(tmp_path)] == [("0", "1.0", "2.0"), ("0", "1.0", "3.0")]


@pytest.mark.parametrize("logger", [loggers.wandb, loggers.tensorboard, mlflow])
def test_a_logger_that_is_not_installed_is_a_clear_error(logger, tmp_path, monkeypatch):
    name, real = logger.__name__, importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n == name else real(n, *a))
    with pytest.raises(UserError, match=rf"^{name} is not installed: pip install"):
        logger(tmp_path)


def test_tensorboard_writes_into_the_run_folder(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = loggers.tensorboard(tmp_path)
    log.log_metrics({"valid/auc": 0.75}, 3)
    close([log])
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("valid/auc")] == [(3, 0.75)]


def wandb_records(path):
    """Yield the payloads of a .wandb file: LevelDB's log format after seven bytes of W&B's own."""
    content = path.read_bytes()
    assert content[:4] == b":W&B"
    position, parts = 7, b""
    while position + 7 <= len(content):
        if (left := BLOCK - position % BLOCK) < 7:  # a header never crosses a block
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + 7])
        parts += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def ended_records(file):
    """Return the records of a run, once the last is there: W&B's own process writes on when the run has finished."""
    from wandb.proto.wandb_internal_pb2 import Record

    give_up = time.monotonic() + 120
    while True:
        records = [Record.FromString(payload) for payload in wandb_records(file)]
        if any(record.HasField("exit") for record in records):
            return records
        assert time.monotonic() < give_up, f"{file} has no end"
        time.sleep(0.1)


def test_wandb_offline_writes_a_run_that_goes_on_after_a_resume(tmp_path):
    wandb = pytest.importorskip("wandb")
    ids = set()
    for _ in range(2):
        log = loggers.wandb(tmp_path, mode="offline", name="a run", tags=["x"], group="g")
        trainer(tmp_path, logger=log, max_epochs=1, val_check_interval=5).fit(Tiny())
        ids.add(log.experiment.id)
        close([log])
    assert len(ids) == 1
    assert (tmp_path / "wandb_run_id.txt").read_text().strip() in ids
    assert wandb.run is None

    files = list(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert len(files) == 2
    records = [record for path in files for record in ended_records(path)]
    started = [record.run for record in records if record.HasField("run")]
    assert {(run.run_id, run.display_name, run.run_group, tuple(run.tags)) for run in started} == {
        (ids.pop(), "a run", "g", ("x",))
    }
    names = [
        {item.key or ".".join(item.nested_key) for item in record.history.item}
        for record in records
        if record.HasField("history")
    ]
    assert sum("valid/auc" in row for row in names) == 4
    assert sum("train/lr" in row for row in names) == 20


@pytest.fixture
def no_account(tmp_path, monkeypatch):
    """A machine on which nobody has logged in."""
    pytest.importorskip("wandb")
    for variable in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb_config"))


@pytest.mark.parametrize("mode", [None, "online"])
def test_wandb_without_an_account_is_a_clear_error(tmp_path, no_account, mode):
    with pytest.raises(UserError, match=r"no W&B account here: .*logger\.wandb\.mode=offline"):
        loggers.wandb(tmp_path, mode=mode)


def test_wandb_follows_its_variables_where_the_config_says_nothing(tmp_path, monkeypatch):
    pytest.importorskip("wandb")

    def given(**settings):
        passed = loggers.wandb(tmp_path, **settings)._wandb_init
        return tuple(passed[key] for key in ("mode", "project", "entity"))

    for name, value in {"MODE": "offline", "PROJECT": "theirs"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    assert given() == ("offline", "theirs", None)
    assert given(mode="disabled", project="ours", entity="us") == ("disabled", "ours", "us")
    for name in ("MODE", "PROJECT"):
        monkeypatch.delenv(f"WANDB_{name}")
    monkeypatch.setattr("wandb.login", lambda **_: True)
    assert given() == ("online", "recsys_lora", None)


def test_wandb_disabled_writes_no_run(tmp_path):
    pytest.importorskip("wandb")
    log = loggers.wandb(tmp_path, mode="disabled")
    log.log_metrics({"valid/auc": 0.5}, 1)
    close([log])
    assert not list(tmp_path.glob("wandb/*run-*"))
