import numpy as np
import pytest

from recsys_lora.tasks.scale import RatingScale
from recsys_lora.utils.errors import UserError


def test_the_choices_are_the_whole_numbers_of_the_scale():
    assert RatingScale(1.0, 5.0, 1.0).choices == ("1", "2", "3", "4", "5")
    assert RatingScale(0.5, 5.0, 0.5).choices == ("1", "2", "3", "4", "5")
    assert RatingScale(0.5, 5.0, 0.5).words == {"lowest": "1", "highest": "5"}


def test_a_rating_goes_to_the_nearest_choice():
    scale = RatingScale(0.5, 5.0, 0.5)
    assert scale.nearest(np.array([0.5, 1.0, 1.5, 3.4, 5.0])).tolist() == [0, 0, 1, 2, 4]


def test_a_rating_outside_of_the_scale_is_refused():
    with pytest.raises(UserError, match=r"data\.rating_scale: 1 rating outside of 1 to 5, the first is 6"):
        RatingScale(1.0, 5.0, 1.0).nearest(np.array([5.0, 6.0]))


def test_a_scale_without_two_whole_numbers_is_refused():
    with pytest.raises(UserError, match="no two whole numbers"):
        _ = RatingScale(0.0, 0.9, 0.1).values


def test_ratings_are_written_as_people_write_them():
    assert [RatingScale.write(value) for value in (4.0, 3.5)] == ["4", "3.5"]
