"""Tolerances: what another order of summing does is allowed, and what is wrong is not."""

import numpy as np
import pytest
import torch

from tests.rounding import MODEL, SUM, assert_close


def test_another_order_of_summing_is_allowed_and_a_missing_term_is_not():
    terms = torch.randn(64, 500, generator=torch.Generator().manual_seed(0)).unbind()
    one, other = sum(terms), sum(reversed(terms))
    assert not torch.equal(one, other)
    assert_close(one, other, SUM)
    with pytest.raises(AssertionError, match="roundings where 64 are allowed"):
        assert_close(sum(terms[1:]), other, SUM)


def test_the_size_is_that_of_what_was_rounded():
    large = 1000 + torch.rand(9, generator=torch.Generator().manual_seed(0))
    rest, exact = (large + 1 / 3) - large, torch.full((9,), 1 / 3)
    assert_close(rest, exact, 1, size=large)
    with pytest.raises(AssertionError):
        assert_close(rest, exact, SUM)


@pytest.mark.parametrize("wrong", [1.0 + 2e-4, float("nan"), float("inf")])
def test_a_value_that_is_wrong_in_the_fourth_place_or_no_number_is_refused(wrong):
    assert_close(np.array([1.0, 1.0 + 5e-5]), np.ones(2), MODEL)
    with pytest.raises(AssertionError, match="values: off by"):
        assert_close(np.array([1.0, wrong]), np.ones(2), MODEL)
    with pytest.raises(AssertionError, match="shapes"):
        assert_close(torch.ones(2, 1), torch.ones(2))
