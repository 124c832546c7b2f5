"""Runs become rows: what is one configuration, what is compared, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from recsys_lora.evaluation.ranking import hit_rate_at
from recsys_lora.report import comparison
from recsys_lora.report.comparison_cells import notes
from recsys_lora.report.comparison_schema import read_comparison
from recsys_lora.report.provenance import portable
from recsys_lora.report.published import everything, published, row_name
from recsys_lora.report.runs import find_runs
from recsys_lora.report.same_rows import KEY, surplus
from recsys_lora.tasks.ctr import ClickThrough
from recsys_lora.utils.errors import UserError
from tests.report.runs import DATA, POPULARITY, QUESTIONS, noisy, run_folder, task_of
from tests.tasks import examples, world

COMMAND = "python -m recsys_lora.compare"
LABEL = QUESTIONS["ctr"].label


def compare(paths, **options):
    return comparison.compare(paths, COMMAND, task_of, **options)


def own(row):
    """Return a row's results in the task `ctr`."""
    return row.tasks["ctr"]


def block_of(folder):
    return json.loads((folder / "metrics.json").read_text())["tasks"]["ctr"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """CoRA with two seeds, a CF model and another backbone's CoRA."""
    folder = tmp_path_factory.mktemp("runs")
    run_folder(folder / "sweep" / "2", seed=3, scored=noisy(3, 1.5))
    run_folder(folder / "sweep" / "10", seed=2, scored=noisy(2, 1.5))
    run_folder(folder / "mf", model="mf", scored=noisy(4, 0.2))
    run_folder(folder / "big", llm="a big one", llm__name="big", scored=noisy(5, 1.0))
    return folder


@pytest.fixture(scope="module")
def made(runs):
    return compare([runs], baseline="mf", draws=50)


def test_seeds_of_one_configuration_are_one_row(runs, made):
    assert [row.label for row in made.rows] == ["cora-mf, llm=a big one", "mf", "cora-mf, llm=tiny"]
    row = made.rows[2]
    blocks = [block_of(runs / "sweep" / job) for job in ("10", "2")]
    aucs = [block["lines"][0]["metrics"]["auc"]["value"] for block in blocks]
    auc = own(row).metrics["auc"]
    assert auc.mean == pytest.approx(np.mean(aucs))
    assert auc.sd == pytest.approx(np.std(aucs, ddof=1))
    assert [run.metrics["ctr"]["auc"] for run in row.runs] == aucs  # by seed
    assert own(made.rows[1]).metrics["auc"].sd is None
    assert row.training.seconds == 25.0  # of 20 and 30
    assert (row.training.trained_parameters, own(row).rows_per_second) == (1200, 20.0)
    assert made.rows[1].training is None


def test_what_differs_and_matters_makes_another_row_and_names_it(tmp_path):
    run_folder(tmp_path / "a", scored=noisy(1), model__rank=4)
    run_folder(tmp_path / "b", scored=noisy(2), model__rank=8)
    run_folder(
        tmp_path / "c", scored=noisy(3), model__rank=8, seed=2, name="other", tags=["x"], data__root="/elsewhere"
    )
    found = compare([tmp_path])
    assert [(row.label, len(row.runs)) for row in found.rows] == [
        ("cora-mf, rank=4", 1),
        ("cora-mf, rank=8", 2),
    ]


TARGETS = (["q_proj", "k_proj", "v_proj", "o_proj"], ["q_proj", "k_proj", "v_proj", "up_proj"])


def test_a_name_has_the_fewest_settings_that_tell_rows_apart_and_the_rest_stands_below(tmp_path):
    for place, (rows, rank, targets, lr) in enumerate([(320, 4, 0, 1e-3), (320, 8, 1, 1e-3), (640, 8, 0, 1e-4)]):
        changed = {"data__train_rows": rows, "model__rank": rank, "model__optimizer": {"lr": lr}}
        run_folder(tmp_path / f"r{place}", scored=noisy(place), **changed, model__targets=TARGETS[targets])
    run_folder(tmp_path / "s", model="mf", scored=noisy(4))
    made = compare([tmp_path], baseline="r1", draws=0)
    assert [row.label for row in made.rows] == [
        "cora-mf, train_rows=320, rank=4",
        "cora-mf, train_rows=320, rank=8",
        "cora-mf, train_rows=640, rank=8",
        "mf",
    ]
    assert made.baseline == made.rows[1].label
    assert made.rows[0].settings == {"model.targets": str(TARGETS[0]), "model.optimizer.lr": "0.001"}
    assert made.rows[3].settings == {}
    assert f"{made.rows[2].label}: model.optimizer.lr=0.0001, model.targets={TARGETS[0]}" in notes(made)


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        (TARGETS, ["[q_proj,…,o_proj]", "[q_proj,…,up_proj]"]),
        ((TARGETS[0], ["q_proj", "v_proj", "x_proj", "o_proj"]), ["[q_proj,k_proj,v_proj,o_proj]", "[q_proj,v_pr"]),
        ((["q_proj", "v_proj"], ["q_proj"]), ["[q_proj,v_proj]", "[q_proj]"]),
    ],
)
def test_a_long_list_is_named_by_its_ends_where_these_tell(tmp_path, lists, expected):
    for place, targets in enumerate(lists):
        run_folder(tmp_path / str(place), scored=noisy(place), model__targets=targets)
    for row, value in zip(compare([tmp_path]).rows, expected, strict=True):
        assert row.label.startswith(f"cora-mf, targets={value}")


def test_a_key_is_cut_to_what_names_no_other(tmp_path):
    for rank in (4, 8):
        run_folder(tmp_path / str(rank), scored=noisy(rank), model__rank=rank, first={"rank": 4})
    assert [row.label for row in compare([tmp_path]).rows] == [f"cora-mf, model.rank={rank}" for rank in (4, 8)]


def test_a_cf_model_alone_does_not_depend_on_the_language_model(tmp_path):
    run_folder(tmp_path / "a", model="mf", trainer__accelerator="cpu")
    run_folder(tmp_path / "b", model="mf", seed=2, trainer__accelerator="gpu", llm__name="other")
    [row] = compare([tmp_path]).rows
    assert len(row.runs) == 2


def test_jobs_are_found_in_order_and_once(runs):
    found = find_runs([runs / "sweep", runs])
    assert [path.name for path in found] == ["2", "10", "big", "mf"]


def test_the_order_of_rows_does_not_matter(tmp_path):
    order = np.random.default_rng(0).permutation(len(LABEL))
    run_folder(tmp_path / "a", scored=noisy(1))
    run_folder(tmp_path / "b", model="mf", scored=noisy(2)[order], asked=QUESTIONS["ctr"].take(order))
    found = own(compare([tmp_path], baseline="mf", draws=0).rows[0]).against
    aucs = [roc_auc_score(LABEL, noisy(seed)) for seed in (1, 2)]
    assert found.gaps["auc"].value == pytest.approx(aucs[0] - aucs[1])
    assert found.gaps["auc"].interval is None


def test_seeds_are_averaged_as_chances(runs, made):
    mean = sum(1 / (1 + np.exp(-noisy(seed, 1.5))) for seed in (2, 3)) / 2
    other = noisy(4, 0.2)
    against = own(made.rows[2]).against
    gap = against.gaps["auc"]
    assert gap.value == pytest.approx(roc_auc_score(LABEL, mean) - roc_auc_score(LABEL, other))
    assert gap.interval[0] < gap.value < gap.interval[1]
    losses = log_loss(LABEL, mean), log_loss(LABEL, 1 / (1 + np.exp(-other)))
    assert against.gaps["log_loss"].value == pytest.approx(losses[0] - losses[1])
    assert against.tested == "uauc"
    assert own(made.rows[1]).against is None


@pytest.fixture(scope="module")
def with_floor(tmp_path_factory):
    """Two seeds of CoRA and a CF model, with what their tables have beside them."""
    folder = tmp_path_factory.mktemp("floor")
    for seed in (1, 2):
        run_folder(folder / f"cora{seed}", seed=seed, scored=noisy(seed, 1.5), floor=True)
    run_folder(folder / "mf", model="mf", scored=noisy(4, 0.2), floor=True)
    return folder


def test_baselines_that_all_runs_share_are_rows_above_the_others(with_floor):
    made = compare([with_floor], draws=0)
    assert [row.label for row in made.rows] == ["popularity", "cora-mf", "mf"]
    floor = made.rows[0]
    assert (floor.model, floor.training, floor.runs, list(floor.tasks)) == (None, None, [], ["ctr"])
    assert own(floor).metrics["auc"].mean == pytest.approx(roc_auc_score(LABEL, POPULARITY))
    assert own(floor).metrics["auc"].sd is None
    assert own(floor).warm["auc"] is not None
    assert own(floor).stacked is None


def test_a_baseline_of_other_training_rows_is_left_out(tmp_path):
    run_folder(tmp_path / "a", floor=True)
    run_folder(tmp_path / "b", seed=2, floor=True, popularity=-POPULARITY)
    assert [row.label for row in compare([tmp_path]).rows] == ["cora-mf"]
    run_folder(tmp_path / "c", model="popularity", cf=None, llm=None, floor=True)
    assert [row.label for row in compare([tmp_path / "c"]).rows] == ["popularity"]


def test_rows_are_compared_with_a_model_free_baseline(with_floor):
    made = compare([with_floor], baseline="popularity", draws=20)
    assert made.baseline == "popularity"
    chance = sum(1 / (1 + np.exp(-noisy(seed, 1.5))) for seed in (1, 2)) / 2
    expected = roc_auc_score(LABEL, chance) - roc_auc_score(LABEL, POPULARITY)
    assert own(made.rows[1]).against.gaps["auc"].value == pytest.approx(expected)
    assert own(made.rows[0]).against is None
    (with_mf,) = [row for row in compare([with_floor], baseline="mf", draws=0).rows if own(row).against]
    assert with_mf.label == "cora-mf"  # a baseline is not tested, so that p-values are corrected for methods alone


def test_what_a_row_adds_to_a_stack_is_a_paired_difference(with_floor):
    rows = compare([with_floor], draws=30).rows
    found = own(rows[1]).stacked
    blocks = [block_of(with_floor / f"cora{seed}") for seed in (1, 2)]
    stacks = [[line for line in block["lines"] if line["role"] == "stack"] for block in blocks]
    for place, part in enumerate((found.without, found.included)):
        values = [pair[place]["metrics"]["auc"]["value"] for pair in stacks]
        assert part["auc"].mean == pytest.approx(np.mean(values))
    means = [
        sum(1 / (1 + np.exp(-scores)) for scores in of_seeds) / 2
        for of_seeds in ([POPULARITY, POPULARITY], [POPULARITY + noisy(seed, 1.5) for seed in (1, 2)])
    ]
    gap = found.gaps["auc"]
    assert gap.value == pytest.approx(roc_auc_score(LABEL, means[1]) - roc_auc_score(LABEL, means[0]))
    assert gap.interval[0] < gap.value < gap.interval[1]
    assert found.gaps["log_loss"].value == pytest.approx(log_loss(LABEL, means[1]) - log_loss(LABEL, means[0]))


def test_sampled_items_beside_a_positive_are_questions_of_one_row(tmp_path):
    asked = ClickThrough(negatives="sampled", **world.prompts()).questions(DATA, "test", None, 0)
    assert len(np.unique(asked.row)) == len(asked) / 5
    counts, scores = np.random.default_rng(3).normal(size=(2, len(asked)))
    run_folder(tmp_path, scored=scores, asked=asked, floor=True, popularity=counts)
    floor, row = compare([tmp_path], draws=0).rows
    assert own(floor).metrics["auc_neg4"].mean == pytest.approx(roc_auc_score(asked.label, counts))
    stacked = own(row).stacked
    assert stacked.without["auc_neg4"].mean == pytest.approx(roc_auc_score(asked.label, counts))
    assert stacked.included["auc_neg4"].mean == pytest.approx(roc_auc_score(asked.label, counts + scores))


def test_what_a_row_adds_to_a_stack_of_candidates(tmp_path):
    run_folder(tmp_path, tasks=("ctr", "topk"), floor=True)
    floor, row = compare([tmp_path], draws=10).rows
    asked = QUESTIONS["topk"]
    counts, scores = (examples.guessed("topk", asked, seed) for seed in (99, 1))
    right = np.arange(counts.shape[1]) == asked.target[:, None]
    without, included = (hit_rate_at(one, right, 1).mean() for one in (counts, counts + scores))
    metric = f"hr@1{asked.suffix}"
    assert floor.tasks["topk"].metrics[metric].mean == pytest.approx(without)
    found = row.tasks["topk"].stacked
    assert found.without[metric].mean == pytest.approx(without)
    assert found.included[metric].mean == pytest.approx(included)
    assert found.gaps[metric].value == pytest.approx(included - without)


def test_changed_scores_of_other_lines_are_refused(tmp_path):
    folder = run_folder(tmp_path / "a", floor=True)
    path = folder / "lines_ctr.parquet"
    kept = pl.read_parquet(path)
    kept.with_columns(-pl.col("score of stack with cora")).write_parquet(path)
    with pytest.raises(UserError, match=r"lines_ctr.parquet: its auc is .*, metrics.json beside it says"):
        compare([folder])
    kept.head(10).write_parquet(path)
    with pytest.raises(UserError, match=r"lines_ctr.parquet: its set of questions is 10, metrics.json .* says 600 of"):
        compare([folder])
    kept.drop("score of stack with cora").write_parquet(path)
    with pytest.raises(UserError, match=r"lines_ctr.parquet: no column 'score of stack with cora': test the run again"):
        compare([folder])
    path.unlink()
    assert own(compare([folder]).rows[1]).stacked is None  # of a run that has not kept them
    with pytest.raises(UserError, match=r"^--baseline popularity: no run has kept lines_ctr\.parquet: test one"):
        compare([folder], baseline="popularity")
    run_folder(tmp_path / "b", seed=2, floor=True)
    with pytest.raises(UserError, match=r"a: no stacks of ctr, which other seeds of it have: test it again"):
        compare([tmp_path])
    run_folder(tmp_path / "c", cf="din", floor=True)
    kept_by_the_second = compare([tmp_path / "a", tmp_path / "c"], baseline="popularity", draws=0)
    assert own(kept_by_the_second.rows[1]).against


@pytest.mark.parametrize("damage", [None, float("nan"), "text", [1.0]])
def test_damaged_scores_of_other_lines_are_one_line(tmp_path, damage):
    folder = run_folder(tmp_path / "a", floor=True)
    path, column = folder / "lines_ctr.parquet", "score of stack with cora"
    kept = pl.read_parquet(path)
    values = [damage] * len(kept) if isinstance(damage, str | list) else [damage, *kept[column].to_list()[1:]]
    kept.with_columns(pl.Series(column, values)).write_parquet(path)
    with pytest.raises(UserError, match=r"lines_ctr\.parquet: .*(test the run again|or leave this run out)$"):
        compare([folder])


def test_a_baseline_can_be_the_folder_of_a_run(tmp_path):
    first, second = run_folder(tmp_path / "a"), run_folder(tmp_path / "sweep" / "0", cf="din")
    for baseline in (str(second), str(first), "a", "sweep/0"):
        made = compare([first, second], baseline=baseline, draws=0)
        assert made.baseline == ("cora-din" if baseline.endswith("0") else "cora-mf")


def test_p_values_are_corrected_over_the_other_rows(made):
    tests = [own(row).against.t for row in made.rows if own(row).against]
    small, large = sorted(test.p for test in tests)
    assert sorted(test.p_holm for test in tests) == pytest.approx([min(1, 2 * small), max(min(1, 2 * small), large)])


def test_other_rows_are_refused_and_counted(tmp_path):
    run_folder(tmp_path / "a")
    changed = replace(QUESTIONS["ctr"], label=np.where(np.arange(len(LABEL)) < 3, 1 - LABEL, LABEL))
    run_folder(tmp_path / "b", seed=2, asked=changed)
    words = r"a and .*b: not tested on the same rows of ctr: 6 rows differ \(3 only .*, 3 only"
    with pytest.raises(UserError, match=words):
        compare([tmp_path / "a", tmp_path / "b"])


def test_repeated_rows_count():
    once = pl.DataFrame({name: ["u", "v"] for name in KEY})
    twice = pl.concat([once, once.head(1)])
    assert surplus(once, twice) == (0, 1)
    assert surplus(twice, once) == (1, 0)


def test_what_has_not_finished_is_left_out_and_named(tmp_path):
    run_folder(tmp_path / "a")
    for name in ("b", "sweep/3"):
        (run_folder(tmp_path / name, seed=2) / "metrics.json").unlink()
    made = compare([tmp_path])
    assert [len(row.runs) for row in made.rows] == [1]
    assert made.left_out == ["b", "sweep/3"]
    assert notes(made)[-1] == "left out, without results: b, sweep/3"


def test_rows_with_long_settings_are_called_by_letters_and_have_a_legend(tmp_path):
    values = [f"a prompt of many words, number {place}, that tells rows apart" for place in range(3)]
    for place, value in enumerate(values):
        run_folder(tmp_path / str(place), scored=noisy(place), model__prompt=value)
    run_folder(tmp_path / "9", model="mf", scored=noisy(4))
    made = compare([tmp_path], baseline="CORA-MF, b", draws=0)
    assert [row.label for row in made.rows] == ["cora-mf, A", "cora-mf, B", "cora-mf, C", "mf"]
    assert made.baseline == "cora-mf, B"
    for letter, value in zip("ABC", values, strict=True):
        assert f"cora-mf, {letter}: model.prompt={value}" in notes(made)


def test_a_short_setting_names_a_row_before_long_ones_that_differ_as_it_does(tmp_path):
    for place, item in enumerate(("{title}", "{title} ({genres})")):
        text = f"a long prompt\nof {item} with many words and more than one line, which nobody reads in a label"
        both = {
            f"{stage}__{key}": value for stage in ("model", "first") for key, value in (("text", text), ("entry", item))
        }
        run_folder(tmp_path / str(place), scored=noisy(place), **both)
    made = compare([tmp_path], draws=0)
    assert [row.label for row in made.rows] == ["cora-mf, entry={title}", "cora-mf, entry={title} ({genres})"]
    legend = r"cora-mf, entry={title}: model.text=a long prompt\nof {title} with many words and more than one line, "
    assert [note for note in notes(made) if note.startswith(legend) and "first" not in note]


@pytest.mark.parametrize("name", ["metrics.json", "predictions_ctr.parquet", "environment.json", "config.yaml"])
def test_an_incomplete_run_is_named(tmp_path, name):
    run_folder(tmp_path / "a")
    (tmp_path / "a" / name).unlink()
    with pytest.raises(UserError, match=rf"a/{name}: not there"):
        compare([tmp_path])


def test_mistakes_are_named(tmp_path, runs):
    with pytest.raises(UserError, match="no such folder"):
        compare([tmp_path / "nowhere"])
    with pytest.raises(UserError, match="no run is in it"):
        compare([tmp_path])
    with pytest.raises(UserError, match=r"--baseline din: no such row: choose one of: .*, mf, "):
        compare([runs], baseline="din")
    run_folder(tmp_path / "a")
    run_folder(tmp_path / "b")
    with pytest.raises(UserError, match="the same configuration with the same seed 1"):
        compare([tmp_path])
    (tmp_path / "a" / "predictions_ctr.parquet").write_text("no")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        compare([tmp_path / "a"])


@pytest.mark.parametrize("warm", ["seen", "notebook"])
def test_warm_rows_are_those_of_the_definition(runs, warm):
    block = block_of(runs / "mf")
    made = compare([runs / "mf"], warm=warm)
    expected = block["lines"][0]["parts"][warm]["warm"]["auc"]["value"]
    found = own(made.rows[0]).warm["auc"]
    assert (found and found.mean) == expected
    test = made.tasks["ctr"]
    assert {"warm": test.warm_rows, "cold": test.cold_rows} == block["parts"][warm]


def test_tasks_stand_beside_each_other_and_are_compared_by_their_own_metrics(tmp_path):
    for seed in (1, 2):
        run_folder(tmp_path / f"ckf{seed}", "ckf", seed=seed, tasks=("ctr", "topk", "rating", "explanation"))
        run_folder(tmp_path / f"cora{seed}", seed=seed, tasks=("ctr", "rating"))
    run_folder(tmp_path / "mf", "mf", tasks=("ctr", "topk"), seed=5)
    made = compare([tmp_path], baseline="cora-mf", draws=20)
    assert list(made.tasks) == ["ctr", "topk", "rating", "explanation"]
    rows = {row.label: row for row in made.rows}
    assert {label: list(row.tasks) for label, row in rows.items()} == {
        "ckf-mf": ["ctr", "topk", "rating", "explanation"],
        "cora-mf": ["ctr", "rating"],
        "mf": ["ctr", "topk"],
    }
    found = rows["ckf-mf"].tasks["rating"].against
    assert found.tested == "mae"
    assert found.gaps.keys() == {"mae", "rmse", "mae_argmax", "rmse_argmax", "accuracy"}
    assert found.gaps["mae"].value == pytest.approx(0, abs=1e-9)  # both guess alike, seed by seed
    assert rows["ckf-mf"].tasks["topk"].against is None  # the baseline has not answered it
    assert rows["mf"].tasks["ctr"].against is not None
    assert rows["ckf-mf"].tasks["topk"].published == {}


def test_texts_of_several_seeds_have_no_mean_to_compare(tmp_path):
    for model, seeds in (("ckf", (1, 2)), ("cora", (1,)), ("collm", (3,))):
        for seed in seeds:
            run_folder(tmp_path / f"{model}{seed}", model, seed=seed, tasks=("explanation",))
    made = {row.label: row.tasks["explanation"] for row in compare([tmp_path], baseline="cora-mf", draws=20).rows}
    assert made["ckf-mf"].against is None
    assert made["collm-mf"].against.tested == "rouge_l"
    assert made["collm-mf"].against.gaps.keys() == {"rouge_l"}


def test_the_record_tells_how_to_make_each_run_again(tmp_path, made):
    path = tmp_path / "record.json"
    path.write_text(json.dumps(made.as_json()))
    assert read_comparison(path) == made
    run = made.rows[2].runs[0]
    assert run.command == "python -m recsys_lora.run data=ml_1m data.root=.../ml-1m seed=2"
    assert (run.commit, run.device, run.folder) == ("abc", "x86_64, 2 threads", "sweep/10")
    path.write_text(json.dumps(made.as_json() | {"schema_version": 7}))
    with pytest.raises(UserError, match="not a comparison of version 2 or 3"):
        read_comparison(path)
    with pytest.raises(UserError, match="not there"):
        read_comparison(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("/home/me/runs/a", ".../a"),
        ("data.root=/home/me/ml-1m/", "data.root=.../ml-1m"),
        ("tags=[/a/b,c]", "tags=[.../b,c]"),
        ("llm.name=org/model", "llm.name=org/model"),
        ("url=https://host/a/b", "url=https://host/a/b"),
        ("runs/a", "runs/a"),
        ("data.root=../data/ml-1m", "data.root=.../ml-1m"),
        ("../../data", ".../data"),
        ("data.root=~/data/ml-1m", "data.root=.../ml-1m"),
        ("data.root=.../ml-1m", "data.root=.../ml-1m"),
    ],
)
def test_paths_of_the_machine_are_cut(text, short):
    assert portable(text) == short


def test_published_numbers_are_found_by_model_and_encoder():
    assert published("ml_1m", "mf", "mf")["own"].auc == 0.6482
    found = published("amazon_book", "collm", "sasrec")
    assert (found["own"].uauc, found["rerun"].auc, found["rerun"].source) == (0.5962, 0.7538, "CoRA, arXiv 2408.10645")
    assert "rerun" not in published("ml_1m", "cora", "mf")
    assert published("ml_1m", "tallrec", None)["own"].llm == "Vicuna-7B"
    assert published("ml_100k", "mf", "mf") == {} == published("ml_1m", "cora", "din")
    assert row_name("zero_shot", None) == "zero_shot"


def test_both_data_sets_have_the_same_published_rows():
    rows = {name: {row: list(found) for row, found in table.items()} for name, table in everything()["data"].items()}
    assert rows["ml_1m"] == rows["amazon_book"]
    assert all(published(data, *row.split("-"), *[None] * (1 - row.count("-"))) for data in rows for row in rows[data])
