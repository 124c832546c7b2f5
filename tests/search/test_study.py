"""A search: what a study holds, what goes on after a kill, and the experiment it ends in."""

import csv
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
import yaml
from optuna.trial import TrialState

from recsys_lora.utils.errors import UserError
from tests.jobs import NO_METHOD, own_tables, run, write_tables
from tests.search.made import CORA, searched, stored, typed


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A cache that the searches share, and the overrides that name tables."""
    folder = tmp_path_factory.mktemp("tune")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSYS_LORA_HOME", str(folder / "home"))
        yield SimpleNamespace(folder=folder, named=write_tables(folder / "tables", *own_tables()))


def column(path: Path, name: str) -> list[float]:
    with path.open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


@pytest.fixture(scope="module")
def study(place):
    """A study of two trials, then the same command with four; its folder and when the first trial was recorded."""
    folder = place.folder / "study"
    searched(folder, *CORA, *place.named, "search.trials=2")
    assert [t.state for t in stored(folder).trials] == [TrialState.COMPLETE] * 2
    before = (folder / "trial-0" / "trial.json").stat().st_mtime_ns
    searched(folder, *CORA, *place.named, "search.trials=4")
    return folder, before


def test_the_same_command_adds_the_missing_trials_alone(study):
    folder, before = study
    assert [t.state for t in stored(folder).trials] == [TrialState.COMPLETE] * 4
    assert (folder / "trial-0" / "trial.json").stat().st_mtime_ns == before
    assert len({tuple(t.params.values()) for t in stored(folder).trials}) == 4, "drew the first ones again"


def test_a_trial_is_a_run_with_its_values_judged_by_its_best_validation(study):
    folder, _ = study
    for trial in stored(folder).trials:
        own = folder / f"trial-{trial.number}"
        config = yaml.safe_load((own / "config.yaml").read_text())
        assert config["model"]["rank"] == trial.params["model.rank"]
        assert config["model"]["optimizer"]["lr"] == trial.params["model.optimizer.lr"]
        curve = column(own / "metrics.csv", "valid/auc")
        assert trial.value == pytest.approx(max(curve), abs=1e-6)
        assert list(trial.intermediate_values.values()) == pytest.approx(curve, abs=1e-6)
        assert list(trial.intermediate_values) == list(range(1, len(curve) + 1))


def test_a_search_ends_with_a_table_a_plot_and_an_experiment(study):
    folder, _ = study
    found = stored(folder)
    assert column(folder / "trials.csv", "value") == [t.value for t in found.trials]
    assert (folder / "search.png").read_bytes().startswith(b"\x89PNG")
    (path,) = (folder / "conf" / "experiment").glob("*.yaml")
    text = path.read_text()
    assert (
        f"study {found.study_name}: trial-{found.best_trial.number}, valid/auc {max(t.value for t in found.trials):.6f}"
        in text
    )
    assert "4 finished" in text


def test_the_experiment_is_the_best_trials_config_and_alone_scores_test_rows(place, study):
    folder, _ = study
    found = stored(folder)
    assert not list(folder.rglob("metrics.json"))
    assert not (place.folder / "home" / "artifacts" / "test").exists()
    tested = place.folder / "tested"
    search_path = f"hydra.searchpath=[file://{folder / 'conf'}]"
    outcome = run(tested, search_path, f"experiment={found.study_name}")
    mine = yaml.safe_load((tested / "config.yaml").read_text())
    best = yaml.safe_load((folder / f"trial-{found.best_trial.number}" / "config.yaml").read_text())
    del best["callbacks"]["trial"]
    for config in (mine, best):
        for key in ("paths", "test", "group", "logger"):
            config.pop(key)
        for node in config["callbacks"].values():
            node.pop("folder", None)
    assert mine == best
    assert outcome.method.training["reused"]
    assert outcome.method.training["best_valid"] == found.best_value
    assert (place.folder / "home" / "artifacts" / "test").exists()


def test_other_settings_are_refused_by_a_study(place, study):
    folder, _ = study
    with pytest.raises(UserError, match=r"seed=1, not 2.*search\.study=NAME"):
        searched(folder, *CORA, *place.named, "seed=2")
    with pytest.raises(UserError, match=r"data\.sample_seed=0, not 1"):
        searched(folder, *CORA, *place.named, "data.sample_seed=1")


@pytest.mark.slow
def test_a_killed_trial_is_marked_and_its_values_tried_again(place):
    folder = place.folder / "killed"
    searched(folder, *CORA, *place.named, "search.trials=1")
    killed = stored(folder).ask()  # a process that takes a trial and never comes back
    rank = killed.suggest_categorical("model.rank", [2, 4])
    searched(folder, *CORA, *place.named, "search.trials=2")
    trials = stored(folder).trials
    assert [t.state for t in trials] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]
    assert trials[2].user_attrs["repeats"] == 1
    assert trials[2].params["model.rank"] == rank
    assert yaml.safe_load((folder / "trial-1" / "trial.json").read_text())["state"] == "killed"


@pytest.mark.slow
def test_a_trial_worse_than_the_others_is_pruned_at_its_first_validation(place):
    folder = place.folder / "pruned"
    line = (*CORA, *place.named, "search.startup_trials=1", "search.warmup_validations=0", "seed=7")
    searched(folder, *line, "search.trials=1")
    first = stored(folder).trials[0]
    for _ in range(2):  # whose first validation no real one reaches
        made = optuna.trial.create_trial(
            params=first.params, distributions=first.distributions, value=2.0, intermediate_values={1: 2.0, 2: 2.0}
        )
        stored(folder).add_trial(made)
    searched(folder, *line, "search.trials=4")
    last = stored(folder).trials[3]
    assert last.state is TrialState.PRUNED
    assert list(last.intermediate_values) == [1]
    assert yaml.safe_load((folder / "trial-3" / "trial.json").read_text())["state"] == "pruned"
    assert len(first.intermediate_values) > 1
    assert not (folder / "trial-3" / "checkpoints" / "best.ckpt").exists()


def test_a_failed_trial_is_marked_with_its_line_and_the_search_goes_on(place):
    folder = place.folder / "failed"
    with_heads = (*CORA, *place.named, "+search.space.model.generator.heads=[2,3]", "search.sampler=random")
    searched(folder, *with_heads, "search.trials=5", "search.max_failures=5")
    trials = stored(folder).trials
    for trial in trials:
        failed = trial.params["model.generator.heads"] == 3  # does not divide 16
        assert trial.state is (TrialState.FAIL if failed else TrialState.COMPLETE)
        assert ("heads" in trial.user_attrs.get("error", "")) is failed
    assert {t.state for t in trials} == {TrialState.FAIL, TrialState.COMPLETE}


def test_failures_in_a_row_end_the_search(place):
    folder = place.folder / "hopeless"
    line = (*CORA, *place.named, "model.targets=[q_prj]", "search.max_failures=2")
    with pytest.raises(UserError, match=r"2 trials in a row failed, the last with: .*no linear map named q_prj"):
        searched(folder, *line)
    assert [t.state for t in stored(folder).trials] == [TrialState.FAIL] * 2
    assert not (folder / "conf").exists()


def test_a_cf_model_is_judged_by_the_best_validation_of_its_fit(place):
    folder = place.folder / "cf"
    base = [o for o in NO_METHOD if not o.startswith(("cf.encoder", "cf.trainer"))]
    line = ("hparams_search=mf", *base, *place.named, "search.space.cf.encoder.dim=[2,4]", "cf.trainer.max_epochs=4")
    searched(folder, *line, "search.trials=2")
    for trial in stored(folder).trials:
        curve = column(folder / f"trial-{trial.number}" / "cf" / "metrics.csv", "valid_auc")
        assert trial.value == pytest.approx(max(curve), abs=1e-6)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["hparams_search=mf", "search.pruner=median"], "fits of CF models are not pruned"),
        (
            ["hparams_search=ckf", "tasks=[ctr,rating]", "search.metric=valid/auc"],
            r"search\.metric=valid/auc: weights are chosen by valid/loss",
        ),
        (["hparams_search=ckf", "tasks=[ctr,rating]", "search.direction=maximize"], "the minimum is the best"),
        (["hparams_search=cora", "train=false"], "a search trains"),
        (["hparams_search=cora", "search.trials=0"], r"search\.trials=0"),
        (["hparams_search=cora", "search.study=../x"], r"search\.study=\.\./x: it becomes a folder's name"),
        (["hparams_search=cora", "search.sampler=guess"], r"search\.sampler=guess"),
        (
            ["hparams_search=cora", "+search.space.model.rnk=[4]"],
            r"search\.space\.model\.rnk: .*did you mean model\.rank",
        ),
        (["hparams_search=cora", "+search.space.seed=[1,2]"], r"search\.space\.seed: cannot be searched"),
        (
            ["hparams_search=cora", "+search.space.callbacks.stop_early.patience=[1,2]"],
            r"patience: cannot be searched: what can is below .*callbacks\.ema\.decay",
        ),
        (["hparams_search=cora", "+search.space.callbacks.ema.decay=[0.9,2]"], r"ema\.decay: callbacks\.ema\.decay=2"),
        (["hparams_search=cora", "search.space.model.rank=[4,0]"], r"search\.space\.model\.rank: model\.rank=0"),
        (
            ["hparams_search=cora", "search.space.model.dropout.high=2.0"],
            r"search\.space\.model\.dropout: model\.dropout=2\.0",
        ),
        (["hparams_search=cora", "search.space.model.optimizer.lr.low=0.1"], "low=0.1 is not below high=0.003"),
        (["hparams_search=cora", "search.space.model.optimizer.lr.low=0.0"], "log: true needs low above 0"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_what_makes_no_sense_is_refused_before_the_first_trial(tmp_path, overrides, line):
    with pytest.raises(UserError, match=line) as caught:
        searched(tmp_path / "study", *overrides)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("kind", ["damaged", "folder"])
def test_a_file_in_which_no_study_can_be_kept_is_one_line(tmp_path, kind):
    path = tmp_path / "study" / "study.db"
    path.mkdir(parents=True) if kind == "folder" else (tmp_path / "study").mkdir()
    if kind == "damaged":
        path.write_bytes(b"no database" * 1000)
    with pytest.raises(UserError, match=r"study\.db: no study can be kept there \(.*\): make room, or") as caught:
        searched(tmp_path / "study", "hparams_search=cora")
    assert "\n" not in str(caught.value)


def test_run_refuses_a_space_and_tune_the_lack_of_one(tmp_path):
    refused = typed(tmp_path, "recsys_lora.run", "hparams_search=cora", "paths.runs=runs")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert "python -m recsys_lora.tune" in refused.stderr
    refused = typed(tmp_path, "recsys_lora.tune")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert "hparams_search=cora" in refused.stderr


@pytest.mark.slow
def test_the_command_lines_that_are_printed_work(place, tmp_path):
    line = ["recsys_lora.tune", *CORA, *place.named, "search.trials=1", "search.study=mine"]
    done = typed(tmp_path, *line)
    assert done.returncode == 0, done.stderr
    again = typed(tmp_path, *line)
    assert again.returncode == 0, again.stderr
    assert "trial-0 finished" not in again.stdout
    (command,) = re.findall(r"python -m (recsys_lora\.run --config-dir .*)", again.stdout)
    tested = typed(tmp_path, *shlex.split(command))
    assert tested.returncode == 0, tested.stderr
    assert len(list(tmp_path.rglob("metrics.json"))) == 1
    assert len(stored(tmp_path / "runs" / "studies" / "mine").trials) == 1
