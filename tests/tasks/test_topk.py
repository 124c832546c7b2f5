import numpy as np
import pytest

from recsys_lora.tasks.topk import TopK, from_the_end
from recsys_lora.utils.errors import UserError
from tests.tasks import world


def task(**knobs):
    return TopK(**world.listed(), **knobs)


def ask(data, split="test", limit=None, **knobs):
    return task(**knobs).questions(data, split, limit, 0)


def test_each_users_last_positive_of_the_split_is_asked_for():
    rows = [(1, 1, 5, "train"), (1, 2, 5, "test"), (1, 3, 4, "test"), (1, 4, 1, "test"), (2, 5, 1, "test")]
    questions = ask(world.data(rows))
    assert questions.row.tolist() == [2]
    assert questions.item.tolist() == [3]
    assert questions.position.tolist() == [2]


def test_the_right_candidate_is_among_ten_distinct_ones_at_the_named_place():
    questions = ask(world.many())
    assert questions.items.shape == (30, 10)
    assert all(len(set(row)) == 10 for row in questions.items.tolist())
    assert (questions.items[np.arange(30), questions.target] == questions.item).all()
    assert len(set(questions.target.tolist())) > 4  # shuffled


def test_no_other_candidate_is_liked():
    data = world.many()
    questions = ask(data)
    liked = data.history.last(questions.user, np.full(len(questions), 6), 6)  # all six of each user
    assert ((questions.items[:, :, None] == liked[:, None, :]).any(axis=2).sum(axis=1) == 1).all()


@pytest.mark.parametrize(("knobs", "a_user"), [({}, 3), ({"train_per_user": 1}, 1), ({"min_history": 2}, 2)])
def test_training_asks_for_the_last_positives_with_enough_history(knobs, a_user):
    questions = ask(world.many(), "train", **knobs)  # four positives a user in train, the first without history
    assert len(questions) == 30 * a_user
    assert questions.position.min() >= knobs.get("min_history", 1)


def test_a_limit_is_a_sample_in_order():
    questions = ask(world.many(), limit=11)
    assert len(questions) == 11
    assert (np.diff(questions.row) > 0).all()


def test_the_metrics_names_say_how_many_candidates_and_how_they_were_drawn():
    questions = ask(world.many(), sampling="popularity", candidates=5, cutoffs=[1, 3])
    scores = -np.abs(np.arange(5) - questions.target[:, None]).astype(float)  # the right one first
    found = {one.name: one.value() for one in task(candidates=5, cutoffs=[1, 3]).metrics(questions, scores)}
    names = ["hr@1_of5_popularity", "hr@3_of5_popularity", "ndcg@3_of5_popularity", "mrr_of5_popularity"]
    assert found == dict.fromkeys(names, 1.0)


def test_equal_scores_count_as_last():
    questions = ask(world.many())
    found = {one.name: one.value() for one in task().metrics(questions, np.zeros((30, 10)))}
    assert found["hr@5_of10_uniform"] == 0.0
    assert found["mrr_of10_uniform"] == pytest.approx(0.1)


def test_padding_scores_nothing():
    questions = ask(world.many()).take(np.arange(1))
    questions.items[0, 7:] = 0
    assert np.isneginf(task().predict(np.zeros((1, 10)), questions)[0]).tolist() == [False] * 7 + [True] * 3


def test_popularity_is_the_count_in_train():
    data = world.many()
    questions = ask(data)
    found = task().baselines(data, questions, questions)
    counts = data.train_counts()[1][questions.items]
    assert np.round(np.expm1(found["popularity"])).tolist() == counts.tolist()
    assert found["random"].shape == (30, 10)


def test_candidates_may_be_named_by_letters_or_titles():
    assert task(scoring="option_letter").choices == tuple("ABCDEFGHIJ")
    assert task(scoring="option_letter").kind == "choice"
    assert task().choices is None
    assert task().kind == "candidates"
    assert task(scoring="option_letter").slots["answer"] == "letter"


@pytest.mark.parametrize(
    ("knobs", "reason"), [({"candidates": 1}, "nothing to choose"), ({"cutoffs": [10]}, "cutoffs \\[10\\]")]
)
def test_impossible_knobs_are_refused(knobs, reason):
    with pytest.raises(UserError, match=reason):
        task(**knobs)


def test_a_prompt_that_does_not_show_the_candidates_is_refused():
    with pytest.raises(UserError, match=r"without the slot \{candidates\}"):
        TopK(**world.prompts())


def test_too_small_a_catalogue_is_refused():
    with pytest.raises(UserError, match="lower candidates=10"):
        ask(world.data([(1, 1, 5, "train"), (1, 2, 5, "test")], items=9))


def test_rows_are_counted_from_each_users_end():
    assert from_the_end(np.array([1, 1, 1, 2, 4, 4])).tolist() == [2, 1, 0, 0, 1, 0]
    assert from_the_end(np.zeros(0, dtype=np.int64)).tolist() == []


def test_valid_and_test_may_ask_every_positive():
    rows = [(1, 1, 5, "train"), (1, 2, 5, "test"), (1, 3, 4, "test"), (1, 4, 1, "test"), (2, 5, 5, "test")]
    assert ask(world.data(rows), eval_per_user=None).row.tolist() == [1, 2, 4]
    assert ask(world.data(rows), eval_per_user=None, history_range=[1, 1]).row.tolist() == [1]
    assert ask(world.data(rows), eval_per_user=1).row.tolist() == [2, 4]
