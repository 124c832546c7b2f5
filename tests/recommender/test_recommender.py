"""A trained run answers by raw ids what its test has measured, and goes on as events and items come."""

import json
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from sklearn.metrics.pairwise import cosine_similarity

import recsys_lora
from recsys_lora.cli.settings import RunSettings
from recsys_lora.recommender.tables import SCHEMA
from recsys_lora.utils.errors import UserError
from tests.finished import RUNS
from tests.rounding import assert_close

COLD, LATE = "i29", 1e-5


@pytest.fixture
def cora(runs):
    """A recommender of one's own, which a test may change."""
    return recsys_lora.load(runs("cora"))


def same(left, right):
    assert_frame_equal(left, right, rel_tol=1e-5, abs_tol=LATE)


def met(runs, user):
    return runs.interactions.filter(pl.col("user_id") == user).sort("timestamp")


# Loading


@pytest.mark.parametrize("name", [name for name in RUNS if name != "cora-rated"])  # a position names no disliked rows
def test_scores_are_those_of_the_runs_test(runs, loaded, name):
    rows = pl.read_parquet(runs(name) / "predictions_ctr.parquet")
    recommender = loaded(name)
    position = recommender.run.data.every.position[rows["row"].to_numpy()].tolist()
    found = recommender.score(list(zip(rows["user_id"], rows["item_id"], strict=True)), position=position)
    assert found["user"].to_list() == rows["user_id"].to_list()
    assert found["item"].to_list() == rows["item_id"].to_list()
    np.testing.assert_allclose(found["score"], rows["score"], atol=LATE, rtol=LATE)


def test_loading_needs_no_raw_data_and_writes_nothing(runs, monkeypatch):
    folder = runs("cora")
    hidden = runs.folder / "hidden"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    state = torch.get_rng_state()
    (runs.folder / "tables").rename(hidden)
    try:
        recsys_lora.load(folder).recommend("u1")
    finally:
        hidden.rename(runs.folder / "tables")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert torch.equal(torch.get_rng_state(), state)


def test_what_is_gone_is_said_in_one_line(runs, tmp_path, monkeypatch):
    folder = shutil.copytree(runs("cora"), tmp_path / "run")
    with pytest.raises(UserError, match="no such folder"):
        recsys_lora.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"checkpoints: holds no run \(no config\.yaml\): give that of a run"):
        recsys_lora.load(folder / "checkpoints")
    (folder / "artifacts.json").rename(tmp_path / "kept")
    with pytest.raises(UserError, match=r"no artifacts\.json here: the run has not finished"):
        recsys_lora.load(folder)
    (tmp_path / "kept").rename(folder / "artifacts.json")
    monkeypatch.setenv("RECSYS_LORA_HOME", str(tmp_path / "home"))
    with pytest.raises(UserError, match="is gone: run the same command again, or export the run again"):
        recsys_lora.load(folder)
    shutil.copytree(runs.folder / "home", tmp_path / "home")
    weights = tmp_path / "home" / "artifacts" / json.loads((folder / "artifacts.json").read_text())["weights"]
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(UserError, match="has changed since it was written: run the same command again"):
        recsys_lora.load(folder)
    (folder / "config.yaml").unlink()
    with pytest.raises(UserError, match=r"run: holds no run \(no config\.yaml\)"):
        recsys_lora.load(folder)


def test_a_folder_of_runs_means_the_one_that_finished_last(runs, tmp_path, capsys):
    for name, seconds in (("1", 20), ("2", 30), ("10", 10)):
        folder = shutil.copytree(runs("mf"), tmp_path / name)
        os.utime(folder / "artifacts.json", (seconds, seconds))
    (tmp_path / "unfinished").mkdir()
    assert recsys_lora.load(tmp_path).run.folder == tmp_path / "2"
    capsys.readouterr()
    RunSettings(run=tmp_path).load()
    assert capsys.readouterr().out.split() == [f"{tmp_path}:", "its", "newest", "run,", "2"]


@pytest.mark.parametrize(
    ("overrides", "said"), [("model.rank=3", "what changes no result"), ("llm", "what changes no result")]
)
def test_only_what_changes_no_result_can_be_overridden(runs, overrides, said):
    with pytest.raises(UserError, match=said):
        recsys_lora.load(runs("cora"), overrides)


def test_a_cost_can_be_overridden(runs):
    assert recsys_lora.load(runs("cora"), "evaluation.token_budget=99").run.config.scoring_tokens == 99


@pytest.mark.parametrize("part", ["weights", "cf", "cf_key"])
def test_a_record_without_a_part_is_refused(runs, tmp_path, part):
    folder = shutil.copytree(runs("cora"), tmp_path / "run")
    record = json.loads((folder / "artifacts.json").read_text())
    (folder / "artifacts.json").write_text(json.dumps({**record, part: None}))
    with pytest.raises(UserError, match=rf"artifacts\.json: names no {part}, which CoRAModule has: run it again"):
        recsys_lora.load(folder)


@pytest.mark.parametrize("device", ["tpu9", "cuda:99", "meta", "mps"])
def test_a_device_that_is_not_there_is_refused(runs, device):
    with pytest.raises(UserError, match=f"device={device}"):
        recsys_lora.load(runs("cora"), device=device)


# Lists


@pytest.mark.parametrize("name", RUNS)
def test_a_list_is_what_sorting_the_retrieved_gives(runs, loaded, name):
    """The oracle sorts Python tuples: by the CF model's score, then by popularity, then by number."""
    recommender = loaded(name)
    data = recommender.run.data
    users, counts = ["u4", "u1"], data.train_counts()[1]
    found = recommender.recommend(users, k=5, retrieve=8)
    assert dict(found.schema) == SCHEMA
    assert found["by"].unique().to_list() == [recommender.run.config.model["name"]]
    assert found["user"].to_list() == ["u4"] * 5 + ["u1"] * 5
    for user in users:
        seen = set(met(runs, user)["item_id"])
        rows = recommender.score([(user, item) for item in runs.items["item_id"] if item not in seen]).to_dicts()

        def place(row):
            number = data.raw_item_ids.index(row["item"])
            return -round(row["cf_score"] or 0.0, 6), -counts[number], number

        retrieved = sorted(rows, key=place)[:8]
        for number, row in enumerate(retrieved, start=1):
            row["cf_rank"] = None if row["cf_score"] is None else number
        right = sorted(retrieved, key=lambda row: -row["score"])[:5]
        own = found.filter(pl.col("user") == user)
        assert own["item"].to_list() == [row["item"] for row in right]
        assert own["cf_rank"].to_list() == [row["cf_rank"] for row in right]
        assert own["rank"].to_list() == [1, 2, 3, 4, 5]
        assert own["title"].to_list() == [f"Thing {item[1:]}" for item in own["item"]]
        assert_close(own["score"].to_numpy(), np.array([row["score"] for row in right]))


def test_candidates_take_the_place_of_what_is_retrieved(runs, loaded):
    unseen = sorted(set(runs.items["item_id"]) - set(met(runs, "u2")["item_id"]))
    seen = met(runs, "u2")["item_id"][0]
    recommender = loaded("cora")
    found = recommender.recommend("u2", candidates=[*unseen[:3], seen])
    assert set(found["item"]) == set(unseen[:3])
    every = recommender.recommend("u2", candidates=[*unseen[:3], seen], exclude_seen=False)
    assert set(every["item"]) == {*unseen[:3], seen}
    same(
        every.sort("item").select("score"),
        recommender.score([("u2", i) for i in sorted(every["item"])]).select("score"),
    )


def test_nobody_to_recommend_to_is_an_empty_table(loaded):
    assert dict(loaded("cora").recommend([]).schema) == SCHEMA
    assert dict(loaded("cora").score([]).schema) == SCHEMA


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda r: r.recommend("stranger"), r"user 'stranger': not among the 20 users of table: give history="),
        (lambda r: r.score([("u1", "i1"), ("u1", "x"), ("u1", "y")]), r"item 'x', 'y': not among the 30 items"),
        (lambda r: r.recommend([f"s{n}" for n in range(9)]), r"'s4' and 4 more: not among"),
        (lambda r: r.recommend("s", history=["i1", "zz"]), "item 'zz': not among"),
        (lambda r: r.recommend("u01"), r"of table \(close to 'u01': 'u10', 'u1', 'u0'\): give history="),
        (lambda r: r.recommend("i1x"), r"the 20 users of table: give history="),
        (lambda r: r.recommend("i25"), r"of table \('i25' is an item\): give"),
        (lambda r: r.score([("u1", "u17")]), r"of table \(close to 'u17': 'i17'; 'u17' is a user\): new items"),
        (lambda r: r.recommend(["u1", "u2"], history=["i1"]), "one list for 2 users"),
        (lambda r: r.recommend("u1", history="i1"), "a text: give a list"),
        (lambda r: r.recommend("u1", k=0), "k=0"),
        (lambda r: r.recommend("u1", k="a"), "k='a': give a whole number from 1"),
        (lambda r: r.score([("u1",)]), r"\('u1',\): not a pair: give \(user, item\)"),
        (lambda r: r.score([1, 2]), r"1: not a pair: give \(user, item\)"),
        (lambda r: r.history("u01"), r"of table \(close to 'u01': 'u10', 'u1', 'u0'\)$"),
        (lambda r: r.score([("u1", "i1")], position=[99]), "position=99: user 'u1' has"),
        (lambda r: r.similar("nothing"), "item 'nothing'"),
        (lambda r: r.similar(COLD), "no training row has it"),
        (lambda r: r.explain("u1", "i1"), r"tasks=\[ctr,explanation\]"),
        (lambda r: r.update([("u1", "zz")]), "item 'zz'"),
        (lambda r: r.update(pl.DataFrame({"user": ["u1"]})), "interactions: no column item"),
        (lambda r: r.update([("u1", "i1", 3.0), ("u1", "i2")]), r"rows of \[2, 3\] values"),
        (lambda r: r.update([("u1", "i1"), {"user": "u1", "item": "i2"}]), "rows of both kinds, records and tuples"),
        (
            lambda r: r.update([{"customer": "u1", "item": "i2"}]),
            "interactions: no column user or user_id: it has customer, item",
        ),
        (lambda r: r.add_items([{"item_id": "n"}]), "items: no column title: it has item"),
        (
            lambda r: r.update([("u1", "i2", 3.0), ("u1", "i1", float("nan"))]),
            "interactions, row 2: rating nan is none",
        ),
        (lambda r: r.update([("u1", "i1", 99)]), "row 1: rating 99 is none from 1 to 5"),
        (lambda r: r.update([{"user": "u1", "item": ["i1"]}]), r"item: .* is no id: give text or numbers"),
        (lambda r: r.update([("u1", "i1", 4), ("u1", "i2", None)]), "row 2: no rating, while others have one"),
        (
            lambda r: r.update(pl.DataFrame({"user": ["u1"], "item": ["i1"], "rating": ["good"]})),
            "rating 'good' is none",
        ),
        (
            lambda r: r.update([("u1", "i1", 5.0, "2024-05-31"), ("u1", "i2", 5.0, "soon")]),
            "interactions, row 2: timestamp 'soon' is neither a number nor a date as 2024-05-31T18:00:00",
        ),
        (lambda r: r.update([("u1", "i1", 5.0, 3.0), ("u1", "i2", 5.0, None)]), "row 2: timestamp None is neither"),
        (lambda r: r.add_items([("i1", "Known")]), "item 'i1': is there already"),
        (lambda r: r.add_items([("n", "New"), ("n", "Newer")]), "item 'n': given twice"),
        (lambda r: r.add_items([("n", None)]), "items: title is missing in 1 row:"),
        (lambda r: r.add_items(pl.DataFrame({"item": ["n"], "title": ["N"], "hue": ["red"]})), "no attribute hue"),
    ],
)
def test_a_mistake_is_one_line(loaded, call, said):
    with pytest.raises(UserError, match=said) as caught:
        call(loaded("cora"))
    assert "\n" not in str(caught.value)
    assert loaded("cora").score([("u1", "i1")]).height == 1  # nothing is left locked


def test_a_method_that_does_not_rank_says_so(runs, tmp_path):
    from tests.jobs import SMALL_TASKS, run

    run(tmp_path, *SMALL_TASKS, "tasks=[rating]", "test=false", *runs.tables)
    with pytest.raises(UserError, match=r"answers rating: items are ranked by ctr"):
        recsys_lora.load(tmp_path).recommend("u1")


# People who are new, events, items


def test_somebody_with_a_users_history_gets_that_users_scores(runs, loaded):
    """SASRec and the prompt know a user by the history alone."""
    liked = met(runs, "u3").filter(pl.col("rating") > 3)["item_id"].to_list()
    recommender = loaded("cora")
    items = ["i1", "i5", COLD]
    right = recommender.score([("u3", item) for item in items]).drop("user")
    for somebody in ("new", None):
        found = recommender.score([(somebody, item) for item in items], history=liked)
        assert found["user"].to_list() == [somebody] * 3
        same(found.drop("user"), right)
    both = recommender.score([("a", "i1"), ("u3", "i1"), ("b", "i1")], history={"a": liked, "b": []})
    same(both[:1].drop("user"), both[1:2].drop("user"))
    assert abs(both["score"][2] - both["score"][0]) > 1e-4


def test_all_that_a_new_user_has_rated_is_in_the_prompt(runs):
    """With `history=rated` what is not liked shows, too: somebody with a user's events gets that user's scores."""
    recommender = recsys_lora.load(runs("cora-rated"))
    items = ["i1", "i5", COLD]
    right = recommender.score([("u3", item) for item in items])
    events = met(runs, "u3").select(pl.lit("later").alias("user"), "item_id", "rating", "timestamp")
    recommender.update(events)
    same(recommender.score([("later", item) for item in items]).drop("user"), right.drop("user"))
    recommender.update([("later", "i2", 1.0)])
    after = recommender.score([("later", item) for item in items])
    assert np.abs((after["score"] - right["score"]).to_numpy()).max() > 1e-6


def test_mf_makes_a_new_users_vector_of_the_history(runs):
    """`cf.encoder.unseen=history`: what is retrieved is the new user's own, in a call and after events."""
    recommender = recsys_lora.load(runs("cora-offset"))
    found = [recommender.recommend("new", k=30, history=liked) for liked in (["i1", "i3"], ["i2", "i8", "i4"])]
    scores = [dict(zip(one["item"], one["cf_score"], strict=True)) for one in found]
    assert all(len(set(one.values())) > 10 for one in scores)
    both = scores[0].keys() & scores[1].keys()
    assert max(abs(scores[0][item] - scores[1][item]) for item in both) > 1e-4
    recommender.update([("later", "i1"), ("later", "i3")])
    same(recommender.recommend("later", k=30).drop("user"), found[0].drop("user"))


def test_without_a_history_the_list_is_what_is_popular_and_says_so(loaded):
    recommender = loaded("cora")
    counts = recommender.run.data.train_counts()[1][1:]
    for found in (recommender.recommend("new", k=4, history=[]), recommender.recommend(None, k=4, history=[])):
        assert found["by"].to_list() == ["popularity"] * 4
        assert found["score"].null_count() == 4
        numbers = [recommender.run.data.raw_item_ids.index(item) for item in found["item"]]
        assert [counts[number - 1] for number in numbers] == sorted(counts)[::-1][:4]
    few = recommender.recommend("new", history=[], candidates=["i3", "i1"])
    assert set(few["item"]) == {"i1", "i3"}


def test_events_move_histories(runs, cora):
    items = ["i1", COLD]
    liked = met(runs, "u3").filter(pl.col("rating") > 3)["item_id"].to_list()
    right = cora.score([("u3", item) for item in items], history=[*liked, "i7", "i8"])
    before = cora.score([("u3", item) for item in items])
    events = pl.DataFrame(
        {"user": ["u3"] * 3, "item": ["i8", "i9", "i7"], "rating": [5.0, 1.0, 5.0], "timestamp": [3, 2, 1]}
    )
    assert cora.update(events) == 3
    found = cora.score([("u3", item) for item in items])
    same(found, right)
    assert np.abs(found["score"] - before["score"]).max() > 1e-6
    assert not {"i7", "i8", "i9"} & set(cora.recommend("u3", k=30)["item"])


def test_records_do_what_tuples_do(runs, cora):
    other = recsys_lora.load(runs("cora"))
    other.add_items([("n", "New")])
    other.update([("u3", "n", 5.0), ("u3", "i8", 1.0)])
    cora.add_items([{"title": "New", "item": "n"}])
    cora.update([{"item_id": "n", "user_id": "u3", "rating": 5.0}, {"user_id": "u3", "item_id": "i8", "rating": 1.0}])
    pairs = [("u3", "i1"), ("u3", "n")]
    same(cora.score(pairs), other.score(pairs))
    assert cora.history("u3")["item"].to_list()[-2:] == ["n", "i8"]


def test_no_events_move_nothing(cora):
    before = cora.score([("u3", "i1")])
    assert cora.update([]) == 0
    same(cora.score([("u3", "i1")]), before)


def test_users_come_with_their_events(runs, cora):
    liked = met(runs, "u3").filter(pl.col("rating") > 3)["item_id"].to_list()
    right = cora.score([("u3", "i1"), ("u3", COLD)]).drop("user")
    assert cora.update([("later", item) for item in liked]) == len(liked)
    cora.update([("last", "i1", 1.0)])
    same(cora.score([("later", "i1"), ("later", COLD)]).drop("user"), right)
    assert not set(liked) & set(cora.recommend("later", k=30)["item"])
    assert cora.recommend("last", k=1)["by"].to_list() == ["popularity"]  # met something, and liked nothing
    assert cora.users[-2:] == ["later", "last"]
    same(cora.score([("u3", "i1"), ("u3", COLD)]).drop("user"), right)


def test_an_item_comes_by_its_title(runs, cora):
    """A cold item's vector is an unseen item's: with its title, a new item is the same."""
    with pytest.raises(UserError, match="'fresh'"):
        cora.score([("u1", "fresh")])
    right = cora.score([("u1", COLD), ("u2", "i1")])
    assert cora.add_items([("fresh", "Thing 29"), ("fresher", "Another")]) == 2
    found = cora.score([("u1", "fresh"), ("u2", "i1")])
    assert_close(found["score"].to_numpy(), right["score"].to_numpy())
    assert found["title"].to_list() == ["Thing 29", "Thing 1"]
    assert cora.score([("u1", "fresher")])["score"][0] != found["score"][0]
    assert {"fresh", "fresher"} <= set(cora.recommend("u1", k=99)["item"])
    assert cora.items.rows()[-2:] == [("fresh", "Thing 29"), ("fresher", "Another")]
    cora.update([("u1", "fresh", 5.0)])
    assert "fresh" not in set(cora.recommend("u1", k=99)["item"])


# Similar items, explanations


def test_unseen_items_have_no_neighbours_and_are_none_where_they_share_a_vector(loaded):
    recommender = loaded("cora-offset")  # its MF gives unseen items the mean of the others
    with pytest.raises(UserError, match="no training row has it"):
        recommender.similar(COLD)
    assert COLD not in recommender.similar("i3", k=100)["item"].to_list()


def test_similar_items_are_those_of_the_largest_cosine(runs, loaded):
    recommender = loaded("mf")
    table = recommender.run.collaborative.encoder.item_table().detach().numpy()
    raws = recommender.run.data.raw_item_ids
    number = raws.index("i3")
    cosine = cosine_similarity(table[number : number + 1], table[: len(raws)])[0]
    right = [n for n in np.argsort(-cosine) if n not in (0, number) and np.abs(table[n]).sum()][:4]
    found = recommender.similar("i3", k=4)
    assert found["item"].to_list() == [raws[n] for n in right]
    np.testing.assert_allclose(found["score"], cosine[right], atol=1e-6)
    with pytest.raises(UserError, match="no CF model"):
        loaded("zero_shot").similar("i3")


def test_an_explanation_is_what_the_runs_test_wrote(runs):
    recommender = recsys_lora.load(runs("ckf"))
    rows = pl.read_parquet(runs("ckf") / "predictions_explanation.parquet").filter(label=2.0, item_id=COLD)
    assert len(rows) > 2  # each user's last row, which is no positive: all positives are known before it
    for row in rows.iter_rows(named=True):
        found = recommender.explain(row["user_id"], COLD, 2.0)
        assert found.rows() == [(row["user_id"], COLD, "Thing 29", 2.0, row["text"])]
    assert recommender.explain("u1", "i3")["rating"][0] in (1.0, 2.0, 3.0, 4.0, 5.0)
    recommender.run.method.module.backbone.tokenizer.eos_token = None  # at once, where all that it learned is to end
    assert len({recommender.explain("u1", item, 5.0)["text"][0] for item in ("i3", "i4", COLD)} - {""}) > 1
    with pytest.raises(UserError, match=r"rating=7: the scale is 1 to 5"):
        recommender.explain("u1", "i3", 7)


# Threads


def test_equal_calls_give_equal_answers_bit_for_bit(loaded):
    recommender = loaded("cora")
    assert_frame_equal(recommender.recommend(["u1", "u3"]), recommender.recommend(["u1", "u3"]), check_exact=True)


def test_threads_get_what_one_by_one_gives_while_events_come(runs, cora):
    users = [f"u{n}" for n in range(1, 9)]
    expected = [cora.recommend(user, k=5, retrieve=6) for user in users]
    strangers = [cora.recommend("x", k=5, retrieve=6, history=[f"i{n}", f"i{n + 1}"]) for n in range(1, 9)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(2) as pool:
            jobs = [pool.submit(cora.recommend, user, k=5, retrieve=6) for user in users]
            new = [
                pool.submit(cora.recommend, "x", k=5, retrieve=6, history=[f"i{n}", f"i{n + 1}"]) for n in range(1, 9)
            ]
            events = [pool.submit(cora.update, [(f"w{n}", "i1")]) for n in range(4)]
            assert [event.result() for event in events] == [1] * 4
            found, others = [job.result() for job in jobs], [job.result() for job in new]
    finally:
        sys.setswitchinterval(interval)
    for left, right in zip([*found, *others], [*expected, *strangers], strict=True):
        same(left, right)
    assert cora.users[-1].startswith("w")
