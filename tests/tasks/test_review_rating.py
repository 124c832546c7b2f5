import pytest

from recsys_lora.tasks.review_rating import ReviewRating
from recsys_lora.utils.errors import UserError
from tests.tasks import world

ROWS = [(1, 1, 5, "train"), (2, 1, 1, "test"), (2, 3, 5, "test"), (3, 1, 5, "test")]
TASK = ReviewRating(**world.prompts("{title} {review}?"), words=3)


def test_the_review_is_cut_to_its_first_words_and_empty_ones_are_left_out(caplog):
    data = world.data(ROWS, review=["x", "one two\nthree four", None, "  "])
    with caplog.at_level("INFO"):
        questions = TASK.questions(data, "test", None, 0)
    assert questions.texts == ({"review": "one two three"},)
    assert questions.row.tolist() == [1]
    assert questions.target.tolist() == [0]
    assert questions.label.tolist() == [1.0]
    assert "review_rating, test: 2 of 3 rows left out: empty review" in caplog.text


def test_data_without_reviews_say_so():
    assert TASK.missing(world.data(ROWS)) == "no reviews"
    with pytest.raises(UserError, match="task review_rating: the data set has no reviews"):
        TASK.questions(world.data(ROWS), "test", None, 0)
