"""Whole jobs of a model of several tasks: what is made, what is reused, what is left out and what is refused."""

import logging
import re
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import mean_absolute_error, roc_auc_score

from recsys_lora.data.length_buckets import FORWARD_OVERHEAD_TOKENS
from recsys_lora.evaluation.ranking import hit_rate_at
from recsys_lora.llm.backbone import Backbone
from recsys_lora.pipeline.tasks import resolved_cost
from recsys_lora.report.metrics_json import read_metrics
from recsys_lora.tasks.lines import read_lines
from recsys_lora.tasks.predictions import scores_of
from recsys_lora.tasks.topk import TopK
from recsys_lora.utils.errors import UserError
from tests.documents import ROOT
from tests.jobs import SMALL_TASKS, method_of, own_tables, run, with_reviews, write_tables
from tests.pipeline.place import Killed, Place, killed_at, same, weights
from tests.rounding import TRAINING, assert_close

WITHOUT_REVIEWS = ["ctr", "topk", "rating"]
ALL = [*WITHOUT_REVIEWS, "explanation", "review_rating"]
SHORT = ("task.explanation.answer_tokens=6",)
FEW = ("task.topk.candidates=4", "task.topk.cutoffs=[1,3]")


EVERY = (
    *FEW,
    *("llm=tiny", "llm.layers=1", "budget=smoke", "data=table", "data.train_rows=16", "data.valid_rows=8"),
    *("data.test_rows=12", "evaluation.shuffled_rows=6", "evaluation.draws=2", "cf.trainer.max_epochs=1"),
    *("cf.encoder.dim=8",),
)
"""What every model runs with."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSYS_LORA_HOME", str(folder / "home"))
        interactions, items = own_tables()
        made = Place(folder, (*SMALL_TASKS, *FEW), write_tables(folder / "plain", interactions, items))
        made.reviews = (*write_tables(folder / "reviews", with_reviews(interactions), items), *SHORT)
        yield made


@pytest.fixture(scope="module")
def all_five(place):
    """A finished job of all tasks."""
    return place.run(*place.reviews)


@pytest.fixture(scope="module")
def three(place):
    """A finished job on a table without reviews, and what it logged."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger("recsys_lora")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        outcome, folder = place.run()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    return outcome, folder, lines


# What a run leaves


def test_metrics_json_is_valid_and_each_task_has_its_predictions(all_five):
    outcome, folder = all_five
    written = read_metrics(folder / "metrics.json")
    assert written == outcome.metrics
    assert list(written["tasks"]) == ALL
    assert written["valid"].keys() == {"loss", "step"}
    for name, block in written["tasks"].items():
        rows = pl.read_parquet(folder / f"predictions_{name}.parquet")
        assert rows.height == block["rows"] > 0
        assert rows["warm_seen"].sum() == block["parts"]["seen"]["warm"]
        assert rows["split"].unique().to_list() == ["test"]
    assert not (folder / "predictions.parquet").exists()
    text = (folder / "table.md").read_text()
    assert all(f": {name}, {block['rows']} questions" in text for name, block in written["tasks"].items())


def test_the_numbers_are_those_of_the_predictions(all_five):
    outcome, folder = all_five
    tasks = outcome.metrics["tasks"]
    rows = pl.read_parquet(folder / "predictions_ctr.parquet")
    assert own(tasks["ctr"])["auc"]["value"] == pytest.approx(roc_auc_score(rows["label"], rows["score"]))
    for name in ("rating", "review_rating"):
        rows = pl.read_parquet(folder / f"predictions_{name}.parquet")
        mean = mean_absolute_error(rows["label"], rows["expected"])
        assert own(tasks[name])["mae"]["value"] == pytest.approx(mean)
    rows = pl.read_parquet(folder / "predictions_topk.parquet")
    first = [int(np.argmax(scores)) for scores in rows["scores"].to_list()]
    assert own(tasks["topk"])["hr@1_of4_uniform"]["value"] == np.mean(np.array(first) == rows["target"].to_numpy())
    rows = pl.read_parquet(folder / "predictions_explanation.parquet")
    assert own(tasks["explanation"])["empty_share"]["value"] == np.mean([not text for text in rows["text"]])
    assert rows["reference"].str.len_chars().min() > 0


def own(block):
    return next(line["metrics"] for line in block["lines"] if line["role"] == "method")


def test_every_line_answers_the_same_questions(all_five):
    tasks = all_five[0].metrics["tasks"]
    lines = {name: [(one["name"], one["sample"]) for one in block["lines"]] for name, block in tasks.items()}
    common = [("frozen LLM", False), ("ckf, text alone", False), ("ckf", False)]
    shuffled = [("ckf", True), ("ckf, users shuffled", True)]
    counted = [(n, False) for n in ("constant", "popularity", "item_mean", "user_share", "item_user", "sasrec")]
    stacks = [("stack without ckf", False), ("stack with ckf", False)]
    means = [("constant_mode", False), ("global_mean", False), ("item_mean", False)]
    assert lines == {
        "ctr": counted + common + shuffled,  # four validation questions, of one class: no stacks
        "topk": [(n, False) for n in ("random", "popularity", "sasrec")] + common + stacks,
        "rating": means + common + shuffled,
        "explanation": [("most_common", False), ("most_common_of_rating", False), *common],
        "review_rating": means + common + shuffled,
    }
    assert tasks["ctr"]["rows"] == 12
    assert tasks["ctr"]["sample_rows"] == 8
    assert "version:" in tasks["explanation"]["remarks"]["bleu"]


def test_candidates_are_stacked_too(all_five):
    outcome, folder = all_five
    block = outcome.metrics["tasks"]["topk"]
    without, included = (block["stacks"][f"stack {which} ckf"] for which in ("without", "with"))
    assert list(without["weights"]) == ["popularity", "sasrec"]
    assert list(included["weights"]) == ["popularity", "sasrec", "ckf"]
    task = outcome.method.module.tasks["topk"]
    assert without["rows"] == included["rows"] == len(task.questions(outcome.data, "valid", 4, 0))
    kept = read_lines(folder / "lines_topk.parquet")
    stack, own = (scores_of(kept[f"score of {name}"]) for name in ("stack with ckf", "ckf"))
    assert stack.shape == own.shape == (block["rows"], 4)
    questions = task.questions(outcome.data, "test", 12, 0)
    right = np.arange(4) == questions.target[:, None]
    hits = next(line for line in block["lines"] if line["name"] == "stack with ckf")["metrics"]["hr@1_of4_uniform"]
    assert hits["value"] == hit_rate_at(stack, right, 1).mean()
    compared = {(d["first"], d["second"]) for d in block["differences"]}
    assert ("stack with ckf", "stack without ckf") in compared


def test_what_was_trained_is_in_the_checkpoint_the_meta_network_too(all_five):
    outcome, folder = all_five
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    trained = {name for name, value in outcome.method.module.named_parameters() if value.requires_grad}
    assert trained <= checkpoint["state_dict"].keys()
    assert any("mapping" in name for name in trained)
    assert any("lowrank" in name for name in trained)
    assert not [name for name in checkpoint["state_dict"] if name.startswith(("encoder.", "backbone."))]
    assert checkpoint["identity"]["tasks"] == ALL


# Which tasks


def test_without_reviews_their_tasks_are_left_out_and_the_run_says_so(three):
    outcome, folder, lines = three
    assert list(outcome.metrics["tasks"]) == WITHOUT_REVIEWS
    assert "task explanation is left out: data=table: no summaries" in lines
    assert "task review_rating is left out: data=table: no reviews" in lines
    assert sorted(path.name for path in folder.glob("predictions*")) == [
        f"predictions_{name}.parquet" for name in sorted(WITHOUT_REVIEWS)
    ]


def test_a_subset_is_asked_in_the_order_given(place):
    outcome, _ = place.run("tasks=[rating,ctr]", "evaluation.zero_shot=false", "evaluation.shuffled_rows=0")
    assert list(outcome.metrics["tasks"]) == ["rating", "ctr"]
    assert list(outcome.method.module.tasks) == ["rating", "ctr"]
    assert {line["role"] for line in outcome.metrics["tasks"]["ctr"]["lines"]} == {
        *("baseline", "cf", "method_text", "method")
    }


def test_one_task_alone_is_a_run_like_any_other(place, three):
    made = place.made_by("tasks=[ctr]", "data.valid_rows=12")
    assert made == [
        "method/ckf-table",
        "test/ckf-ctr-table",
        "test/ckf-shuffled-ctr-table",
        "test/ckf-text-ctr-table",
        "test/ckf-valid-ctr-table",
    ]  # the frozen model's answers are those of the run of three


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("tasks=[ctr,ratings]",), "tasks=['ctr', 'ratings']: no task ratings: "),
        (("tasks=[explanation]",), "tasks=['explanation']: explanation cannot be asked of data=table: no summaries"),
        (("tasks=[ctr,review_rating]",), "review_rating cannot be asked of data=table: no reviews"),
        (("tasks=[]",), "tasks=[]: name at least one of ctr, topk, rating, explanation, review_rating"),
        (("data.valid_rows=published",), "valid_rows=published: "),
    ],
)
def test_tasks_that_cannot_be_asked_are_refused_in_one_line(place, overrides, words):
    before = place.artifacts().keys()
    with pytest.raises(UserError) as refusal:
        place.run(*overrides)
    line = str(refusal.value)
    assert words in line
    assert len(line.splitlines()) == 1
    assert not [name for name in place.artifacts().keys() - before if name.startswith(("method/", "test/"))]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("tasks=[nope]",), "no task nope"),
        (("tasks=[topk]", "task.topk.cutoffs=[1,4]"), r"^task topk: cutoffs"),
        (("row=mf", "tasks=[rating]"), "a CF model's scores do not answer it"),
        (("model=text_similarity", "tasks=[topk]"), r"it answers yes-or-no questions alone: set tasks=\[ctr\]"),
    ],
)
def test_tasks_are_checked_before_data_are_read(place, overrides, words):
    with pytest.raises(UserError, match=words):
        place.run(*overrides, "data.interactions=nowhere.csv", base=EVERY)


def test_two_lines_of_a_table_have_two_names(place):
    with pytest.raises(UserError, match=r"^topk: two lines of its table are called popularity: choose another"):
        place.run("model=zero_shot", "model.name=popularity", "tasks=[topk]", base=EVERY)


def test_a_task_that_stacks_what_is_no_baseline_is_one_line(place, monkeypatch):
    monkeypatch.setattr(TopK, "stacked", ("nope",))
    with pytest.raises(UserError, match=r"^task topk: stacked names nope, which is no baseline of it"):
        place.run("model=zero_shot", "tasks=[topk]", base=EVERY)


ANSWERING = {
    "cora": ("cf=mf", "model.generator.query_dim=16"),
    "ckf": ("cf=mf",),
    "collm": ("cf=mf",),
    "tallrec": (),
    "binllm": (),
    "prompt4nr": (),
    "person_prompt": (),
    "graphlora": ("cf=mf",),
    "icl": (),
    "zero_shot": (),
}


@pytest.mark.parametrize("model", ANSWERING)
def test_every_method_answers_every_task(place, model):
    trained = model not in ("icl", "zero_shot")
    given = (f"model={model}", "tasks=[ctr,topk,rating,explanation]", "data.test_rows=6", *ANSWERING[model])
    folder = place.folder / "every" / model
    batches = ("model.batch_size=8",) if trained else ()
    outcome = run(folder, *EVERY, *place.reviews, *given, *batches)
    assert list(outcome.metrics["tasks"]) == ["ctr", "topk", "rating", "explanation"]
    for name, block in outcome.metrics["tasks"].items():
        names = {(line["role"], line["name"]) for line in block["lines"]}
        assert ("method", model) in names
        assert (("frozen_llm", "frozen LLM") in names) == trained
        assert all(value["value"] is not None or value["reason"] for value in own(block).values())
        assert pl.read_parquet(folder / f"predictions_{name}.parquet").height == block["rows"]
    if trained:
        assert outcome.metrics["valid"].keys() == {"loss", "step"}


def test_a_cf_model_alone_answers_what_its_scores_answer(place):
    outcome, _ = place.run("row=mf", "tasks=null", base=EVERY)
    assert list(outcome.metrics["tasks"]) == ["ctr", "topk"]
    words = r"tasks=\['rating'\]: rating cannot be asked of model=mf: a CF model's scores do not answer it"
    with pytest.raises(UserError, match=words):
        place.run("row=mf", "tasks=[rating]", base=EVERY)


def test_a_method_is_tested_on_tasks_that_it_was_not_trained_on(place):
    knobs = ("model=tallrec", "model.batch_size=8", "evaluation.zero_shot=false")
    _, folder = place.run(*knobs, base=EVERY)
    path = folder / "checkpoints" / "best.ckpt"
    outcome, _ = place.run(*knobs, "train=false", f"ckpt_path={path}", "tasks=[rating]", base=EVERY)
    assert own(outcome.metrics["tasks"]["rating"])["mae"]["value"] is not None


def test_the_weights_of_ctr_alone_are_chosen_by_its_auc(place, three):
    outcome, _ = place.run("tasks=[ctr]", "data.valid_rows=12")
    assert outcome.metrics["valid"].keys() == {"auc", "step"}
    assert three[0].metrics["valid"].keys() == {"loss", "step"}


def test_shuffling_fewer_questions_than_two_users_have_is_left_out(place, three):
    outcome, _ = place.run("evaluation.shuffled_rows=1")
    assert all(block["sample_rows"] is None for block in outcome.metrics["tasks"].values())


# What is reused


def test_a_second_run_makes_nothing_and_says_the_same(place, three):
    before = place.artifacts()
    again, folder = place.run()
    assert place.artifacts() == before
    assert again.metrics["tasks"] == three[0].metrics["tasks"]
    assert sorted(path.name for path in folder.glob("predictions*")) == [
        f"predictions_{name}.parquet" for name in sorted(WITHOUT_REVIEWS)
    ]


def test_a_changed_prompt_of_one_task_keeps_the_frozen_models_other_answers(place, three):
    made = place.made_by("task.rating.text.history_items=2")
    assert "test/frozen_llm-rating-table" in made
    assert "method/ckf-table" in made
    assert "test/frozen_llm-ctr-table" not in made
    assert "cf/sasrec-table" not in made


def test_other_test_questions_are_answered_anew_by_the_same_method(place, three):
    made = place.made_by("data.test_rows=6", "evaluation.zero_shot=false")
    assert made
    assert {name.split("/")[0] for name in made} == {"test"}


# Interrupted

KEPT = ("seed=11", "tasks=[ctr,rating]", "test=false", "trainer.max_epochs=2", "model.dropout=0.2")


def test_a_killed_run_goes_on_to_the_same_weights(place, monkeypatch):
    with monkeypatch.context() as patch:
        killed_at(6, patch)
        with pytest.raises(Killed):
            place.run(*KEPT)
    last = place.folder / "runs" / str(place.runs) / "checkpoints" / "last.ckpt"
    halfway = torch.load(last, weights_only=True)
    assert 0 < halfway["global_step"] < 8
    _, resumed = place.run(*KEPT, f"ckpt_path={last}")
    _, uninterrupted = place.run(*KEPT, "stage.force=[method]")
    ends = [torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True) for folder in (resumed, uninterrupted)]
    assert [end["global_step"] for end in ends] == [8, 8]
    assert same(*(end["state_dict"] for end in ends))
    for part in ("mapping.", "lowrank."):
        moved = [name for name in halfway["state_dict"] if name.startswith(part)]
        assert any(not torch.equal(halfway["state_dict"][name], ends[0]["state_dict"][name]) for name in moved)
    curves = [pl.read_csv(folder / "metrics.csv")["valid/loss"].drop_nulls()[-1] for folder in (resumed, uninterrupted)]
    assert curves[0] == curves[1]


def test_a_checkpoint_is_tested_as_it_is_and_only_with_its_tasks(place, three):
    outcome, folder, _ = three
    path = folder / "checkpoints" / "best.ckpt"
    tested, _ = place.run("train=false", f"ckpt_path={path}", "evaluation.zero_shot=false")
    mine = [own(one.metrics["tasks"]["topk"]) for one in (tested, outcome)]
    assert mine[0] == mine[1]
    state = weights(path)
    assert all(
        torch.equal(value, state[f"mapping.{name}"])
        for name, value in tested.method.module.mapping.state_dict().items()
    )
    with pytest.raises(UserError, match="tasks"):
        place.run("train=false", f"ckpt_path={path}", "tasks=[ctr,rating]")


@pytest.mark.parametrize(
    ("wanted", "device", "sharded", "cost"),
    [
        ("auto", "cpu", False, FORWARD_OVERHEAD_TOKENS),
        ("auto", "cpu", True, None),
        ("auto", "cuda", False, None),
        (50, "cuda", False, 50.0),
        (0, "cpu", False, 0.0),
        (None, "cpu", False, None),
    ],
)
def test_batches_are_cut_on_a_cpu_and_elsewhere_where_asked_for(wanted, device, sharded, cost):
    assert resolved_cost(wanted, SimpleNamespace(device=torch.device(device), sharded=sharded)) == cost


def test_batches_are_not_cut_where_processes_share_the_weights():
    with pytest.raises(
        UserError, match=r"mixing\.forward_overhead_tokens=50: .* set mixing\.forward_overhead_tokens=null"
    ):
        resolved_cost(50, SimpleNamespace(device=torch.device("cuda"), sharded=True))


def test_cut_batches_train_the_run_s_model_as_whole_ones_do(place, monkeypatch):
    widths, found, hidden = [], [], Backbone.hidden
    monkeypatch.setattr(
        Backbone, "hidden", lambda self, *a, **k: (widths.append(a[0].shape[1]), hidden(self, *a, **k))[1]
    )
    for cost in ("null", "0"):
        widths.clear()
        _, folder = place.run(
            "tasks=[ctr,topk]", f"mixing.forward_overhead_tokens={cost}", "model.dropout=0", "test=false"
        )
        found.append((len(widths), weights(folder / "checkpoints" / "last.ckpt")))
    assert found[0][0] < found[1][0]
    for name, value in found[0][1].items():
        assert_close(found[1][1][name], value, TRAINING, what=name)


# The documentation's own example


def test_the_task_of_the_documentation_is_asked_of_a_method(place, tmp_path, monkeypatch):
    text = (ROOT / "docs" / "adding_a_task.md").read_text(encoding="utf-8")
    package, group = tmp_path / "my_package", tmp_path / "my_conf" / "task"
    for folder, fence, name in ((package, "python", "full_marks.py"), (group, "yaml", "full_marks.yaml")):
        folder.mkdir(parents=True)
        [block] = re.findall(rf"^```{fence}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        (folder / name).write_text(block, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    named = ("+task@task.full_marks=full_marks", f"hydra.searchpath=[file://{group.parent}]")
    outcome, folder = place.run(*named, "model=cora", "tasks=[full_marks]", base=EVERY)
    assert list(outcome.metrics["tasks"]) == ["full_marks"]
    assert method_of(outcome.metrics, "full_marks")["auc"] is not None
    assert (folder / "predictions_full_marks.parquet").exists()
