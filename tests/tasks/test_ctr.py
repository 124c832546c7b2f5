import numpy as np
import pytest

from recsys_lora.config.check import mismatches
from recsys_lora.evaluation.ranking import auc
from recsys_lora.tasks.ctr import NO, YES, ClickThrough
from recsys_lora.tasks.task import select
from recsys_lora.utils.errors import UserError
from tests.jobs import resolved
from tests.tasks import world


def task(**knobs):
    return ClickThrough(**world.prompts(), **knobs)


def ask(data, split="test", limit=None, seed=0, **knobs):
    return task(**knobs).questions(data, split, limit, seed)


def test_metrics_name_the_negatives_that_were_sampled_when_rows_have_no_rating():
    data = world.many()
    data.manifest["negatives"] = {"train": 1, "test": 3, "seed": 0}
    for split, suffix in (("train", "_neg1"), ("test", "_neg3")):
        questions = ask(data, split)
        assert len(questions) == len(data.rows(split))
        assert questions.suffix == suffix


def test_rated_questions_are_the_labelled_rows_of_the_split():
    data = world.many()
    rows, questions = data.rows("train"), ask(data, "train")
    assert questions.row.tolist() == rows.row.tolist()
    assert questions.items[:, 0].tolist() == rows.item.tolist()
    assert questions.label.tolist() == rows.label.tolist()
    assert questions.target.tolist() == [YES if label else NO for label in rows.label]
    assert questions.suffix == ""


def test_a_split_with_one_test_row_a_user_gets_sampled_negatives():
    data = world.many(split="leave_last_out")
    questions = ask(data)
    rows = data.rows("test")
    assert len(questions) == 5 * len(rows)
    positive = questions.label == 1
    assert questions.row[positive].tolist() == rows.row.tolist()
    assert questions.item[positive].tolist() == rows.item.tolist()
    assert (questions.user.reshape(-1, 5) == rows.user[:, None]).all()
    assert (questions.position.reshape(-1, 5) == rows.position[:, None]).all()
    liked = data.history.last(questions.user, np.full(len(questions), 6), 6)
    assert not (liked[~positive] == questions.item[~positive, None]).any()


def test_negatives_are_sampled_or_not_as_asked():
    assert len(ask(world.many(), negatives="sampled", ctr_negatives=2)) == 3 * 30
    assert len(ask(world.many(split="leave_last_out"), negatives="rated")) == 30


def test_training_has_its_own_number_of_negatives():
    assert len(ask(world.many(split="leave_last_out"), "train", train_negatives=2)) == 3 * 4 * 30


def test_a_limit_keeps_the_order_and_whole_groups():
    data = world.many(split="leave_last_out")
    questions = ask(data, limit=23)
    assert len(questions) == 20
    assert (np.diff(questions.row) >= 0).all()
    assert questions.label.reshape(-1, 5).sum(axis=1).tolist() == [1.0] * 4
    rated = ask(world.many(), "train", limit=17)
    assert len(rated) == 17
    assert (np.diff(rated.row) > 0).all()


def test_the_seed_decides_and_splits_draw_differently():
    data = world.many(split="leave_last_out")
    assert np.array_equal(ask(data).items, ask(data).items)
    assert not np.array_equal(ask(data).items, ask(data, seed=1).items)


def test_seeds_are_averaged_as_chances_and_one_stays_as_it_is():
    scores = np.array([[3.0, -1.0, 800.0], [-0.5, 2.0, 900.0]])
    chance = (1 / (1 + np.exp(-scores[:, :2]))).mean(axis=0)
    found = task().averaged(list(scores))
    assert found[:2] == pytest.approx(np.log(chance / (1 - chance)))
    assert np.isfinite(found).all()
    assert task().averaged([scores[0]]).tolist() == scores[0].tolist()


def test_questions_of_one_class_are_refused():
    data = world.many()
    for split in ("train", "valid"):
        with pytest.raises(UserError, match=f"{split} rows: all 1 have the label .*data.{split}_rows"):
            task().check(ask(data, split, limit=1), split)
    task().check(ask(data, "train"), "train")


def test_the_rows_are_those_of_the_data_sets_own_sample():
    data = world.many()
    assert ask(data, "train", limit=17, seed=4).row.tolist() == data.sample("train", 17, 4).row.tolist()


def test_metrics_of_sampled_negatives_carry_their_number():
    data = world.many(split="leave_last_out")
    questions = ask(data)
    score = np.random.default_rng(0).normal(size=len(questions))
    found = {one.name: one.value() for one in task().metrics(questions, score)}
    assert list(found) == ["auc_neg4", "uauc_neg4", "log_loss_neg4"]
    assert found["auc_neg4"] == auc(questions.label, score)
    assert ask(data, authors_negatives=True).suffix == "_neg4_any"


def test_baselines_count_training_rows():
    data = world.data(
        [(1, 1, 5, "train"), (1, 2, 1, "train"), (2, 1, 5, "train"), (2, 2, 5, "test"), (2, 1, 1, "test")]
    )
    questions, train = ask(data), ask(data, "train")
    found = task().baselines(data, questions, train)
    assert len(set(found["constant"].tolist())) == 1
    assert found["popularity"] == pytest.approx([np.log(2), np.log(3)])
    assert found["item_mean"][0] < found["constant"][0] < found["item_mean"][1]
    assert (found["user_share"] > found["constant"]).all()  # of user 2, who liked the one item in train
    np.testing.assert_allclose(found["item_user"], found["item_mean"] + found["user_share"] - found["constant"])
    assert select(found["popularity"], np.array([False, True])) == pytest.approx([np.log(3)])


def test_too_small_a_catalogue_is_refused():
    data = world.data([(1, 1, 5, "train"), (1, 2, 5, "test")], split="leave_last_out", items=3)
    with pytest.raises(UserError, match="task ctr: no user has 4 items left to sample in test"):
        ask(data)


def test_a_user_who_likes_nearly_all_is_left_out_and_named_in_the_log(caplog):
    rows = [(1, item, 5, "test") for item in range(1, 39)] + [(2, 1, 5, "test")]
    with caplog.at_level("INFO"):
        questions = ask(world.data(rows), negatives="sampled")
    assert set(questions.user.tolist()) == {2}
    assert "38 of 39 rows left out: the user likes all but fewer than 4 items" in caplog.text


@pytest.mark.parametrize("limit", [None, 20])
@pytest.mark.parametrize("knobs", [{"negatives": "rated"}, {"negatives": "sampled", "ctr_negatives": 1}])
def test_a_range_of_earlier_positives_leaves_only_such_rows(limit, knobs):
    data = world.many()
    every = data.rows("train")
    questions = ask(data, "train", limit, history_range=[2, 3], **knobs)
    assert set(questions.position.tolist()) == {2, 3}
    fitting = every.row[(every.position >= 2) & (every.position <= 3)]
    assert {*questions.row.tolist()} <= {*fitting.tolist()}
    assert len(questions) == 20 or limit is None


def test_a_range_has_two_ends():
    found = [bool(mismatches(resolved(f"task.ctr.history_range={given}"))) for given in ("[1,20]", "null", "[1]")]
    assert found == [False, False, True]


def test_item_questions_have_the_smoothed_share_of_positives_and_no_user():
    train = ask(world.many(), "train")
    items = task().item_questions(train)
    assert items.item.tolist() == sorted(set(train.item.tolist()))
    assert items.items[:, 0].tolist() == items.item.tolist()
    overall = sum(train.label) / len(train)
    for item, label, target in zip(items.item, items.label, items.target, strict=True):
        own = [answer for number, answer in zip(train.item, train.label, strict=True) if number == item]
        assert label == pytest.approx((sum(own) + 5 * overall) / (len(own) + 5), rel=1e-6)
        assert target == (YES if label > 0.5 else NO)
    assert not items.user.any()
    assert not items.position.any()
