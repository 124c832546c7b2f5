import numpy as np
import pytest

from recsys_lora.tasks.explanation import Explanation
from recsys_lora.utils.errors import UserError
from tests.tasks import world

ROWS = [
    (1, 1, 5, "train"),
    (1, 2, 5, "train"),
    (2, 1, 1, "train"),
    (2, 3, 5, "test"),
    (2, 4, 1, "test"),
    (3, 1, 5, "test"),
]
SUMMARIES = ["Five Stars", "Five Stars", "One Star", "  Very\n good ", None, ""]


def task(**knobs):
    return Explanation(**world.prompts("{title} {rating}?"), **knobs)


def data(**columns):
    return world.data(ROWS, **{"summary": SUMMARIES, "review": ["a b c d e f"] * 6, **columns})


def ask(split="test", limit=None, **knobs):
    return task(**knobs).questions(data(), split, limit, 0)


def test_the_reference_is_what_the_user_wrote_and_empty_ones_are_left_out(caplog):
    with caplog.at_level("INFO"):
        asked = task()
        asked.questions(data(), "test", None, 0)
        questions = asked.questions(data(), "test", None, 0)
    assert questions.answers == ("Very good",)
    assert questions.row.tolist() == [3]
    assert questions.target.tolist() == [-1]
    assert questions.texts == ({"rating": "5"},)
    assert caplog.text.count("explanation, test: 2 of 3 rows left out: empty summary") == 1  # however often asked


def test_the_reference_may_be_the_reviews_opening():
    assert ask(reference="review", words=3).answers == ("a b c",) * 3


def test_a_limit_is_a_sample_of_what_is_there():
    assert len(ask("train", limit=2)) == 2


def test_data_without_the_texts_say_so():
    bare = world.data(ROWS)
    assert task().missing(bare) == "no summaries"
    assert task(reference="review").missing(bare) == "no reviews"
    assert task().missing(data(summary=[None, "", " ", None, None, None])) == "no summaries"
    assert task().missing(data()) is None
    with pytest.raises(UserError, match="task explanation: the data set has no summaries"):
        task().questions(bare, "test", None, 0)


def test_empty_and_repeated_outputs_are_counted():
    questions = ask("train")
    found = {one.name: one.value() for one in task().metrics(questions, ["", "Five Stars", "Five Stars"])}
    assert found["empty_share"] == pytest.approx(1 / 3)
    assert found["repeated_share"] == pytest.approx(2 / 3)
    assert found["most_common_share"] == pytest.approx(2 / 3)
    assert found["rouge_l"] == pytest.approx(1 / 3)
    assert found["distinct_1"] == 0.5
    assert found["distinct_2"] == 0.5


def test_what_cannot_be_measured_has_a_reason():
    found = {one.name: one for one in task().metrics(ask("train"), ["", "good", ""])}
    assert found["distinct_2"].value() is None
    assert found["distinct_2"].reason == "no texts are long enough"


def test_bleu_comes_with_its_signature():
    assert "tok:13a" in task().remarks(ask("train"), ["a", "b", "c"])["bleu"]


def test_the_most_common_text_is_a_trivial_predictor_over_all_and_by_rating():
    every = ask("train")
    found = task().baselines(data(), every, every.take(np.array([0, 1, 2])))
    assert found["most_common"] == ["Five Stars"] * 3
    assert found["most_common_of_rating"] == ["Five Stars", "Five Stars", "One Star"]


def test_no_training_texts_are_refused():
    nothing = ask("train").take(np.zeros(0, dtype=np.int64))
    with pytest.raises(UserError, match="train: no summary"):
        task().baselines(data(), ask("test"), nothing)
