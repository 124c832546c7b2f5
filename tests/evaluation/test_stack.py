"""The logistic stack, against sklearn's logistic regression on standardised scores."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from recsys_lora.evaluation.stack import RIDGE, Stack


def world(rows=400, seed=0):
    draw = np.random.default_rng(seed)
    scores = {"a": draw.normal(3, 2, rows), "b": draw.normal(0, 0.01, rows), "noise": draw.normal(size=rows)}
    logit = 0.8 * (scores["a"] - 3) + 60 * scores["b"] - 0.4
    return scores, (draw.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.float32)


def test_it_is_sklearns_logistic_regression():
    scores, label = world()
    test, _ = world(seed=1)
    stack = Stack.fit(scores, label)
    x = np.column_stack([(v - v.mean()) / v.std() for v in scores.values()])
    oracle = LogisticRegression(C=1 / RIDGE, tol=1e-10, max_iter=1000).fit(x, label)
    np.testing.assert_allclose(list(stack.weights.values()), oracle.coef_[0], atol=1e-5)
    new = np.column_stack([(test[name] - v.mean()) / v.std() for name, v in scores.items()])
    np.testing.assert_allclose(stack.score(test), oracle.decision_function(new), atol=1e-4)
    assert stack.rows == 400


def test_what_knows_nothing_gets_no_weight_and_what_knows_more_helps():
    scores, label = world(rows=4000)
    test, truth = world(rows=4000, seed=1)
    whole = Stack.fit(scores, label)
    assert abs(whole.weights["noise"]) < 0.1 < min(whole.weights["a"], whole.weights["b"])
    without = Stack.fit({name: values for name, values in scores.items() if name != "b"}, label)
    assert roc_auc_score(truth, whole.score(test)) > roc_auc_score(truth, without.score(test)) + 0.02


def test_scores_that_separate_the_rows_and_constant_ones_stay_finite():
    label = np.array([0, 0, 1, 1], dtype=np.float32)
    stack = Stack.fit({"perfect": np.array([-900.0, -800.0, 700.0, 900.0]), "constant": np.full(4, 0.3)}, label)
    found = stack.score({"perfect": np.array([-1e6, 1e6]), "constant": np.full(2, 0.3)})
    assert np.isfinite(found).all()
    assert found[0] < 0 < found[1]
    assert stack.weights["constant"] == pytest.approx(0.0)


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="both classes"):
        Stack.fit({"a": np.arange(3.0)}, np.ones(3, dtype=np.float32))
