import numpy as np
import polars as pl
import pytest

from recsys_lora.tasks.ctr import ClickThrough
from recsys_lora.tasks.predictions import (
    output_of,
    questions_of,
    read_table,
    warm_flags,
    write_predictions,
)
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.task import RatingPredictions
from recsys_lora.tasks.topk import TopK
from recsys_lora.utils.errors import UserError
from tests.tasks import world

TEXTS = ["", "Fünf Sterne", 'said "no"\nand left', "nan", "5", "五つ星 🙂", "-inf"]


def ctr():
    data = world.many()
    return data, ClickThrough(**world.prompts()).questions(data, "test", 7, 0)


def topk():
    data = world.many()
    return data, TopK(**world.listed()).questions(data, "test", 7, 0)


def written(folder, output, data, questions):
    """Write predictions and return the table read again."""
    write_predictions(folder / "a.parquet", data, "test", questions, output)
    return read_table(folder / "a.parquet")


def test_scores_and_ratings_come_back_bit_for_bit(tmp_path):
    raw = np.random.default_rng(0).normal(size=7)
    found = output_of(written(tmp_path, raw, *ctr()))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, raw)
    ratings = output_of(written(tmp_path, RatingPredictions(raw, np.round(raw)), *ctr()))
    np.testing.assert_array_equal(ratings.expected, raw)
    np.testing.assert_array_equal(ratings.argmax, np.round(raw))


def test_candidates_scores_come_back_with_minus_infinity_at_padding(tmp_path):
    data, questions = topk()
    raw = np.random.default_rng(0).normal(size=(7, 10))
    questions.items[2, 6:] = 0
    raw[2, 6:] = -np.inf
    table = written(tmp_path, raw, data, questions)
    np.testing.assert_array_equal(output_of(table), raw)
    shown = table["items"].to_list()
    assert [len(items) for items in shown] == [10, 10, 6, 10, 10, 10, 10]
    assert shown[0] == [f"i{item}" for item in questions.items[0]]


def test_texts_come_back_whatever_they_are(tmp_path):
    data, questions = ctr()
    questions = Questions(**{**vars(questions), "answers": tuple(reversed(TEXTS))})
    table = written(tmp_path, TEXTS, data, questions)
    assert output_of(table) == TEXTS
    assert questions_of(table).answers == tuple(TEXTS[::-1])


@pytest.mark.parametrize("made", [ctr, topk])
def test_metrics_of_the_file_alone_are_those_of_the_run(tmp_path, made):
    data, questions = made()
    task = ClickThrough(**world.prompts()) if made is ctr else TopK(**world.listed())
    output = np.random.default_rng(0).normal(size=(7,) if made is ctr else (7, 10))
    table = written(tmp_path, output, data, questions)
    again = questions_of(table)
    assert again.suffix == questions.suffix
    values = [{one.name: one.value() for one in task.metrics(q, output)} for q in (questions, again)]
    assert values[0] == values[1]


def test_a_file_says_whose_and_what_each_prediction_is(tmp_path):
    data, questions = ctr()
    rows = written(tmp_path, np.zeros(7), data, questions)
    assert rows.columns == [
        *("row", "user", "item", "user_id", "item_id", "items", "target", "label", "score", "sampling", "split"),
        *("warm_seen", "warm_count", "warm_notebook"),
    ]
    raw = data.interactions[questions.row.tolist()]
    assert rows["user_id"].to_list() == raw["user_id"].to_list()
    assert rows["item_id"].to_list() == raw["item_id"].to_list()
    assert rows["label"].to_list() == raw["label"].to_list()
    assert (rows["target"] == 1 - rows["label"]).all()  # Yes is the first choice
    assert rows["split"].unique().to_list() == ["test"]


def test_warm_questions_are_counted_in_train(tmp_path):
    rows = [(1, 1, 5, "train"), (1, 2, 5, "train"), (1, 1, 4, "test"), (1, 3, 5, "test"), (2, 1, 1, "train")]
    data = world.data([*rows, (3, 3, 5, "test")])
    questions = ClickThrough(**world.prompts()).questions(data, "test", None, 0)
    assert warm_flags(data, questions)["seen"].tolist() == [1, 0, 0]
    found = written(tmp_path, np.zeros(3), data, questions)
    assert found["warm_seen"].to_list() == [True, False, False]
    assert found["warm_count"].to_list() == [False, False, False]
    assert found["warm_notebook"].to_list() == [None, None, False]  # two rows are neither


def test_a_score_that_is_not_a_number_is_refused_and_nothing_is_left(tmp_path):
    data, questions = topk()
    raw = np.zeros((7, 10))
    raw[[1, 4], 1] = np.nan
    with pytest.raises(UserError, match="2 of 7 test questions have a score that is not a number, the first is of row"):
        write_predictions(tmp_path / "a.parquet", data, "test", questions, raw)
    assert not list(tmp_path.iterdir())


def test_one_prediction_a_question_is_needed(tmp_path):
    with pytest.raises(ValueError, match="7 questions, predictions of 6"):
        written(tmp_path, np.zeros(6), *ctr())


@pytest.mark.parametrize("content", [None, b"no table", b""])
def test_what_is_no_such_file_is_named_in_one_line(tmp_path, content):
    path = tmp_path / "a.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.parquet: cannot be read as Parquet") as refusal:
        read_table(path)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_table_of_something_else_is_named(tmp_path):
    pl.DataFrame({"row": [1, 2]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet: no column user_id, item_id"):
        read_table(tmp_path / "a.parquet")
