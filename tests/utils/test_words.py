"""Numbers and what they count."""

import pytest

from recsys_lora.utils.words import counted


@pytest.mark.parametrize(
    ("count", "word", "written"),
    [
        (0, "user", "0 users"),
        (1, "user", "1 user"),
        (2, "test row", "2 test rows"),
        (12_345, "user", "12,345 users"),
    ],
)
def test_the_word_agrees_with_the_number(count, word, written):
    assert counted(count, word) == written
