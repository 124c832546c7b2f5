"""Text metrics against worked examples, published implementations and plain definitions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_lora.evaluation.text import (
    bleu,
    common_subsequence,
    distinct,
    empty_share,
    most_common_share,
    repeated_share,
    rouge_l,
)


def test_bleu_of_a_worked_example():
    # Of the first text's n-grams 6/7, 5/6, 4/5, 3/4 are in the reference; it is longer, so there is no penalty.
    score, signature = bleu(["the cat sat on the mat today"], ["the cat sat on the mat"])
    assert score == pytest.approx(100 * (3 / 7) ** 0.25)
    # All n-grams are right, but 5 words stand where 6 should.
    assert bleu(["the cat sat on the"], ["the cat sat on the mat"])[0] == pytest.approx(100 * math.exp(1 - 6 / 5))
    assert "tok:13a" in signature
    assert "version:" in signature


def test_bleu_is_of_the_corpus_and_not_a_mean_of_texts():
    both = bleu(["a b c d e f", "Five Stars"], ["a b c d e f", "Five Stars"])[0]
    assert both == pytest.approx(100)
    assert bleu(["Five Stars"], ["Five Stars"])[0] == 0  # no four words in a row
    assert bleu(["", ""], ["a", "b"])[0] == 0
    assert math.isnan(bleu([], [])[0])


def test_rouge_l_is_that_of_the_rouge_score_package():
    # Values of rouge-score 0.1.2, rougeL, use_stemmer=False.
    expected = [
        ("Great gift for anyone!", "A great gift card, for anyone.", 0.8),
        ("The cat sat on the mat", "On the mat sat the cat", 0.5),
        ("Five Stars", "Five stars", 1.0),
        ("It's a 5-star card", "its a five star card", 0.545455),
        ("good good good", "good", 0.5),
        ("", "x", 0.0),
        ("x", "!", 0.0),
    ]
    hypotheses, references, values = zip(*expected, strict=True)
    np.testing.assert_allclose(rouge_l(hypotheses, references), values, atol=1e-6)
    assert rouge_l(["Sehr schön, ЁЛКА"], ["sehr SCHÖN ёлка"]).tolist() == [1.0]


def table(first, second):
    lengths = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, one in enumerate(first):
        for j, other in enumerate(second):
            longest = max(lengths[i][j + 1], lengths[i + 1][j])
            lengths[i + 1][j + 1] = lengths[i][j] + 1 if one == other else longest
    return lengths[-1][-1]


@given(st.lists(st.sampled_from("abcd"), max_size=80), st.lists(st.sampled_from("abcd"), max_size=80))
def test_the_common_subsequence_is_the_table_s(first, second):
    assert common_subsequence(first, second) == table(first, second)


def test_distinct_counts_different_n_grams_of_all_texts():
    texts = ["good card", "Good card!", "a good gift"]
    assert distinct(texts, 1) == 4 / 7  # good, card, a, gift
    assert distinct(texts, 2) == 3 / 4  # good card twice, a good, good gift
    assert math.isnan(distinct(texts, 4))


def test_shares_of_empty_and_repeated_texts():
    texts = ["Great", "Great ", "great", "", " \n", "fine", "fine", "fine"]
    assert empty_share(texts) == 2 / 8
    assert repeated_share(texts) == (2 + 2 + 3) / 8
    assert most_common_share(texts) == 3 / 8
    assert repeated_share(["a", "b"]) == 0
    for share in (empty_share, repeated_share, most_common_share):
        assert math.isnan(share([]))


def test_texts_without_their_references_are_refused():
    for metric in (bleu, rouge_l):
        with pytest.raises(ValueError, match="2 hypotheses, 1 references"):
            metric(["a", "b"], ["a"])
