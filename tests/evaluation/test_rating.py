import numpy as np
import pytest
from sklearn import metrics as sk

from recsys_lora.evaluation.rating import mae, rmse


def test_errors_equal_scikit_learn():
    rng = np.random.default_rng(0)
    rating, predicted = rng.integers(1, 6, 100).astype(np.float32), rng.normal(3, 1, 100).astype(np.float32)
    assert mae(rating, predicted) == pytest.approx(sk.mean_absolute_error(rating, predicted))
    assert rmse(rating, predicted) == pytest.approx(sk.root_mean_squared_error(rating, predicted))


def test_no_rows_is_nan_and_bad_rows_are_refused():
    assert np.isnan(mae(np.zeros(0), np.zeros(0)))
    assert np.isnan(rmse(np.zeros(0), np.zeros(0)))
    with pytest.raises(ValueError, match="shape"):
        mae(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="NaN"):
        rmse(np.zeros(1), np.array([np.nan]))
