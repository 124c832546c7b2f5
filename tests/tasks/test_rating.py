import numpy as np
import pytest
import torch

from recsys_lora.tasks.rating import Rating
from recsys_lora.tasks.task import RatingPredictions, select
from recsys_lora.utils.errors import UserError
from tests.tasks import world

TASK = Rating(**world.prompts())


def ask(data, split="test", limit=None):
    return TASK.questions(data, split, limit, 0)


def test_every_labelled_row_is_asked_for_its_rating():
    data = world.many()
    rows, questions = data.rows("train"), ask(data, "train")
    assert questions.row.tolist() == rows.row.tolist()
    assert questions.label.tolist() == rows.rating.tolist()
    assert questions.target.tolist() == (rows.rating - 1).tolist()
    assert TASK.choices == ("1", "2", "3", "4", "5")


def test_the_expected_rating_is_the_softmax_over_the_digits():
    logits = np.random.default_rng(0).normal(size=(7, 5)) * 10
    questions = ask(world.many()).take(np.arange(7))
    found = TASK.predict(logits, questions)
    expected = torch.softmax(torch.from_numpy(logits), 1) @ torch.arange(1.0, 6.0, dtype=torch.float64)
    assert found.expected == pytest.approx(expected.numpy())
    assert found.argmax.tolist() == (logits.argmax(1) + 1).tolist()


def test_errors_are_worked_by_hand():
    data = world.data([(1, 1, 5, "test"), (1, 2, 2, "test")])
    output = RatingPredictions(np.array([4.0, 4.0]), np.array([5.0, 4.0]))
    found = {one.name: one.value() for one in TASK.metrics(ask(data), output)}
    assert found == {
        "mae": 1.5,
        "rmse": pytest.approx(np.sqrt(2.5)),
        "mae_argmax": 1.0,
        "rmse_argmax": pytest.approx(np.sqrt(2.0)),
        "accuracy": 0.5,
    }


def test_trivial_predictors_know_the_training_ratings_alone():
    rows = [(1, 1, 5, "train"), (1, 2, 1, "train"), (2, 1, 5, "train"), (2, 3, 2, "test"), (2, 1, 1, "test")]
    data = world.data(rows)
    found = TASK.baselines(data, ask(data), ask(data, "train"))
    mean = 11 / 3
    assert found["constant_mode"].expected.tolist() == [5.0, 5.0]
    assert found["global_mean"].expected == pytest.approx([mean, mean])
    assert found["global_mean"].argmax.tolist() == [4.0, 4.0]
    assert found["item_mean"].expected == pytest.approx([mean, (10 + 5 * mean) / 7])
    assert select(found["item_mean"], np.array([1])).argmax.tolist() == [4.0]


def test_no_training_rows_are_refused():
    data = world.data([(1, 1, 5, "test")])
    with pytest.raises(UserError, match="train: no rated rows"):
        TASK.baselines(data, ask(data), ask(data, "train"))
