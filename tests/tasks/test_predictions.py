import numpy as np
import polars as pl
import pytest

from recsys_lora.errors import UserError
from recsys_lora.tasks.ctr import ClickThrough
from recsys_lora.tasks.predictions import read_answers, warmth_of, write_answers
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.topk import TopK
from tests.tasks import world

TEXTS = ["", "Fünf Sterne", 'said "no"\nand left', "nan", "5", "五つ星 🙂", "-inf"]


def ctr():
    data = world.many()
    return data, ClickThrough(**world.prompts()).questions(data, world.SCALE, "test", 7, 0)


def topk():
    data = world.many()
    return data, TopK(**world.listed()).questions(data, world.SCALE, "test", 7, 0)


def test_logits_come_back_bit_for_bit(tmp_path):
    data, questions = ctr()
    raw = np.random.default_rng(0).normal(size=(7, 2))
    write_answers(tmp_path / "a.parquet", data, "test", questions, raw)
    found = read_answers(tmp_path / "a.parquet", questions)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, raw)


def test_candidates_scores_come_back_with_minus_infinity_at_padding(tmp_path):
    data, questions = topk()
    raw = np.random.default_rng(0).normal(size=(7, 10))
    questions.items[2, 6:] = 0
    raw[2, 6:] = -np.inf
    write_answers(tmp_path / "a.parquet", data, "test", questions, raw)
    np.testing.assert_array_equal(read_answers(tmp_path / "a.parquet", questions), raw)
    shown = pl.read_parquet(tmp_path / "a.parquet")["items"].to_list()
    assert [len(items) for items in shown] == [10, 10, 6, 10, 10, 10, 10]
    assert shown[0] == [f"i{item}" for item in questions.items[0]]


def test_texts_come_back_whatever_they_are(tmp_path):
    data, questions = ctr()
    questions = Questions(**{**vars(questions), "answers": tuple(reversed(TEXTS))})
    write_answers(tmp_path / "a.parquet", data, "test", questions, TEXTS)
    assert read_answers(tmp_path / "a.parquet", questions) == TEXTS
    assert pl.read_parquet(tmp_path / "a.parquet")["reference"].to_list() == TEXTS[::-1]


def test_a_file_says_whose_and_what_each_answer_is(tmp_path):
    data, questions = ctr()
    write_answers(tmp_path / "a.parquet", data, "test", questions, np.zeros((7, 2)))
    rows = pl.read_parquet(tmp_path / "a.parquet")
    assert rows.columns == [
        *("row", "user", "item", "user_id", "item_id", "items", "target", "label", "answer", "split"),
        *("warm_seen", "warm_count", "warm_notebook"),
    ]
    raw = data.interactions[questions.row.tolist()]
    assert rows["user_id"].to_list() == raw["user_id"].to_list()
    assert rows["item_id"].to_list() == raw["item_id"].to_list()
    assert rows["label"].to_list() == raw["label"].to_list()
    assert (rows["target"] == 1 - rows["label"]).all()  # Yes is the first choice
    assert rows["split"].unique().to_list() == ["test"]


def test_warmth_is_counted_in_train(tmp_path):
    rows = [(1, 1, 5, "train"), (1, 2, 5, "train"), (1, 1, 4, "test"), (1, 3, 5, "test"), (2, 1, 1, "train")]
    data = world.data([*rows, (3, 3, 5, "test")])
    questions = ClickThrough(**world.prompts()).questions(data, world.SCALE, "test", None, 0)
    assert warmth_of(data, questions)["seen"].tolist() == [1, 0, 0]
    write_answers(tmp_path / "a.parquet", data, "test", questions, np.zeros((3, 2)))
    found = pl.read_parquet(tmp_path / "a.parquet")
    assert found["warm_seen"].to_list() == [True, False, False]
    assert found["warm_count"].to_list() == [False, False, False]
    assert found["warm_notebook"].to_list() == [None, None, False]  # two rows are neither


def test_a_score_that_is_not_a_number_is_refused_and_nothing_is_left(tmp_path):
    data, questions = ctr()
    raw = np.zeros((7, 2))
    raw[[1, 4], 1] = np.nan
    with pytest.raises(UserError, match="2 of 7 test questions have a score that is not a number"):
        write_answers(tmp_path / "a.parquet", data, "test", questions, raw)
    assert not list(tmp_path.iterdir())


def test_answers_to_other_questions_are_refused(tmp_path):
    data, questions = ctr()
    write_answers(tmp_path / "a.parquet", data, "test", questions, np.zeros((7, 2)))
    for others in (questions.take(np.arange(6)), questions.take(np.arange(7)[::-1])):
        with pytest.raises(UserError, match="holds the answers to other questions"):
            read_answers(tmp_path / "a.parquet", others)


@pytest.mark.parametrize("content", [None, b"no table", b""])
def test_what_is_no_such_file_is_named_in_one_line(tmp_path, content):
    path = tmp_path / "a.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.parquet: cannot be read as Parquet") as refusal:
        read_answers(path, ctr()[1])
    assert len(str(refusal.value).splitlines()) == 1


def test_a_table_without_answers_is_named(tmp_path):
    pl.DataFrame({"row": [1, 2]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet: cannot be read as Parquet"):
        read_answers(tmp_path / "a.parquet", ctr()[1])
