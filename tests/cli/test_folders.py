"""Which folder a command works in: found by what its config says, whether it has finished, and who is at work in it."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from recsys_lora.cli import folders
from recsys_lora.cli.folders import RUN, SWEEP
from recsys_lora.cli.hydra_callbacks import RunFolder
from recsys_lora.cli.hydra_errors import FailedJobsError, HydraBypass
from recsys_lora.cli.status import FAILED, FINISHED, RUNNING, STATUS, Status, read_status, write_status
from recsys_lora.config.paths import conf_dir
from recsys_lora.utils.errors import UserError


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    """Let each test be a process of its own, as far as folders go."""
    monkeypatch.setattr(folders, "_locks", {})
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)


@functools.cache
def config(*overrides: str):
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        cfg = compose("config", list(overrides), return_hydra_config=True)
    OmegaConf.set_struct(cfg, False)
    cfg.hydra.overrides.task = list(overrides)
    return cfg


def was_there(folder: Path, cfg, status: str, kind: str = RUN) -> Path:
    folder.mkdir()
    write_status(folder, Status(status, [], None, folders.fingerprint(cfg, kind)))
    return folder


def chosen(runs: Path, cfg, kind: str = RUN, name: str = "new") -> Path:
    return folders.choose_folder(cfg, kind, runs / name)


@pytest.mark.parametrize(("status", "taken"), [(RUNNING, True), (FAILED, True), (FINISHED, False)])
def test_the_same_config_s_folder_is_taken_unless_it_has_finished(tmp_path, status, taken):
    before = was_there(tmp_path / "before", config("seed=3", "paths.runs=elsewhere", "resume=never"), status)
    assert chosen(tmp_path, config("seed=3")) == (before if taken else tmp_path / "new")


@pytest.mark.parametrize("override", ["seed=4", "model.rank=3", "model=zero_shot", "trainer=ddp_sim", "tags=[a]"])
def test_another_config_s_folder_is_not(tmp_path, override):
    was_there(tmp_path / "before", config(), RUNNING)
    assert chosen(tmp_path, config(override)) == tmp_path / "new"


def test_an_unfinished_run_of_the_same_command_with_other_defaults_is_named(tmp_path, caplog):
    before = was_there(tmp_path / "before", config("seed=3"), RUNNING)
    with caplog.at_level("INFO"):
        assert chosen(tmp_path, config()) == tmp_path / "new"
    assert f"resume={before} to go on" in caplog.text


def test_a_number_is_the_same_however_it_is_written(tmp_path):
    before = was_there(tmp_path / "before", config("model.alpha=32", "tags=[0.9,1]"), RUNNING)
    assert chosen(tmp_path, config("model.alpha=32.0", "tags=[0.9,1.0]")) == before


def test_never_is_a_new_folder(tmp_path):
    was_there(tmp_path / "before", config(), RUNNING)
    assert chosen(tmp_path, config("resume=never")) == tmp_path / "new"


@pytest.mark.parametrize(
    "odd",
    [
        "{}",
        "[]",
        '{"status": "runn',
        "",
        '{"status": "queued", "overrides": []}',
        '{"status": "running", "overrides": 3}',
    ],
)
def test_a_status_that_cannot_be_read_is_passed_over_with_a_warning(tmp_path, odd, caplog):
    before = was_there(tmp_path / "before", config(), RUNNING)
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / STATUS).write_text(odd)
    assert chosen(tmp_path, config()) == before
    assert f"{tmp_path / 'odd' / STATUS}: passed over" in caplog.text


def test_a_later_version_may_say_more(tmp_path):
    before = was_there(tmp_path / "before", config(), RUNNING)
    status = json.loads((before / STATUS).read_text())
    (before / STATUS).write_text(json.dumps({**status, "host": "somewhere"}))
    assert chosen(tmp_path, config()) == before


HOLD = """
import sys
from pathlib import Path
from recsys_lora.cli.folders import occupy
assert occupy(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_folder_in_which_a_process_works_is_not_taken_until_it_is_killed(tmp_path):
    before = was_there(tmp_path / "before", config(), RUNNING)
    other = subprocess.Popen([sys.executable, "-c", HOLD, before], stdin=-1, stdout=-1, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        assert chosen(tmp_path, config()) == tmp_path / "new"
        with pytest.raises(UserError, match="before: another process is at work in it"):
            folders._given(RUN, kept(before), config())
    finally:
        other.kill()
        other.communicate()
    assert chosen(tmp_path, config(), name="newer") == before


def kept(folder: Path, *overrides: str) -> Path:
    """Write what Hydra keeps of a config into a run's folder."""
    cfg = OmegaConf.masked_copy(config(*overrides), [key for key in config(*overrides) if key != "hydra"])
    (folder / ".hydra").mkdir(parents=True)
    OmegaConf.save(cfg, folder / ".hydra" / "config.yaml")
    return folder


def test_a_folder_may_be_named_also_one_that_has_finished(tmp_path):
    folder = kept(tmp_path / "elsewhere", "seed=3", "resume=never")
    write_status(folder, Status(FINISHED, [], None, None))
    assert chosen(tmp_path / "runs", config("seed=3", f"resume={folder}")) == folder


def test_a_named_folder_of_another_config_is_refused_and_the_keys_are_named(tmp_path):
    folder = kept(tmp_path / "elsewhere", "seed=3")
    with pytest.raises(UserError) as refusal:
        chosen(tmp_path / "runs", config("seed=4", "model.rank=2", f"resume={folder}"))
    line = str(refusal.value)
    assert line.startswith(f"resume={folder}: another config (")
    assert "seed was 3, is 4" in line
    assert "model.rank was 16, is 2" in line
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize("odd", ["a: &a [x]\nb: *a\n", "[", "- a\n", "data: [1, 2]\n", "hydra: 3\n"])
def test_a_named_folder_of_odd_contents_is_one_line(tmp_path, odd):
    folder = kept(tmp_path / "elsewhere")
    (folder / ".hydra" / "config.yaml").write_text(odd)
    with pytest.raises(UserError) as refusal:
        chosen(tmp_path / "runs", config(f"resume={folder}"))
    assert len(str(refusal.value).splitlines()) == 1


def test_nothing_is_written_through_links_of_a_folder(tmp_path, caplog):
    (tmp_path / "mine").write_text("untouched")
    folder = kept(was_there(tmp_path / "before", config(), RUNNING))
    (folder / "wandb").mkdir()
    (folder / "wandb" / "latest").symlink_to(folder / "wandb")
    assert chosen(tmp_path, config()) == folder
    folders.leave(folder)
    (folder / "run.log").symlink_to(tmp_path / "mine")
    assert chosen(tmp_path, config()) == tmp_path / "new"
    assert f"{folder}: passed over, run.log leads out of it" in caplog.text
    with pytest.raises(UserError, match=r"run\.log leads out of the folder: delete it"):
        chosen(tmp_path, config(f"resume={folder}"))


@pytest.mark.parametrize("value", ["null", "3", "nowhere"])
def test_what_is_neither_auto_nor_never_nor_a_run_is_refused(tmp_path, value):
    with pytest.raises(UserError, match=rf"resume={'None' if value == 'null' else value}: "):
        chosen(tmp_path, config(f"resume={value}"))


# Sweeps


def sweep(ranks: str, *overrides: str):
    cfg = config(*overrides).copy()
    cfg.hydra.sweeper.params = {"model.rank": ranks}
    return cfg


def test_a_sweep_that_was_killed_or_has_failed_jobs_goes_on(tmp_path):
    def begun(name: str) -> tuple[Path, object]:
        cfg = sweep("2,4", "seed=3").copy()
        cfg.hydra.sweep.dir = str(tmp_path / name)
        RunFolder().on_multirun_start(cfg)
        return Path(cfg.hydra.sweep.dir), cfg

    folder, cfg = begun("it's new")
    assert folder == tmp_path / "it's new"
    assert read_status(folder).status == RUNNING
    assert cfg.hydra.overrides.hydra == [f"hydra.sweep.dir='{tmp_path}/it\\'s new'"]  # jobs are composed again
    write_status(folder / "0", Status(FINISHED, []))
    write_status(folder / "1", Status(FAILED, [], "why"))
    with pytest.raises(HydraBypass, match="1 of the sweep's jobs failed, the first with: why") as ended:
        RunFolder().on_multirun_end(cfg)
    assert isinstance(ended.value.error, FailedJobsError)
    assert read_status(folder).status == FAILED
    again, cfg = begun("again")
    assert again == folder
    write_status(folder / "1", Status(FINISHED, []))
    RunFolder().on_multirun_end(cfg)
    assert read_status(folder).status == FINISHED
    assert begun("third")[0] == tmp_path / "third"


def test_a_folder_named_on_the_command_line_is_that(tmp_path):
    was_there(tmp_path / "before", config("seed=5"), RUNNING)
    cfg = config("seed=5", f"hydra.run.dir={tmp_path / 'mine'}").copy()
    cfg.hydra.overrides.hydra = [f"hydra.run.dir={tmp_path / 'mine'}"]
    cfg.hydra.overrides.task = ["seed=5"]
    RunFolder().on_run_start(cfg)
    assert cfg.hydra.run.dir == str(tmp_path / "mine")


def test_a_chosen_folder_is_the_one_that_hydra_makes(tmp_path):
    cfg = config("seed=5").copy()
    cfg.hydra.run.dir = str(tmp_path / "new")
    before = was_there(tmp_path / "before", cfg, FAILED)
    RunFolder().on_run_start(cfg)
    assert cfg.hydra.run.dir == str(before)


@pytest.mark.parametrize("line", [("2,4", "seed=3"), ("2,8",)])
def test_another_sweep_does_not(tmp_path, line):
    was_there(tmp_path / "before", sweep("2,4"), RUNNING, SWEEP)
    assert chosen(tmp_path, sweep(*line), SWEEP) == tmp_path / "new"


# Several processes that torchrun or SLURM have started


def test_of_processes_started_from_outside_the_first_alone_looks(tmp_path, monkeypatch):
    before = was_there(tmp_path / "before", config(), RUNNING)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("RANK", "1")
    assert chosen(tmp_path, config()) == tmp_path / "new"
    monkeypatch.setenv("RANK", "0")
    assert chosen(tmp_path, config(), name="other") == before


def test_who_cannot_write_a_lock_hears_that_somebody_is_at_work(tmp_path, monkeypatch):
    (tmp_path / folders.LOCK).touch()
    assert not folders.is_held(tmp_path)

    def refused(path, timeout):
        raise UserError(f"{path}: cannot be written")

    monkeypatch.setattr(folders, "locked", refused)
    assert folders.is_held(tmp_path)
