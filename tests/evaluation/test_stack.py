"""The stack, against sklearn's logistic regression on standardised scores, and scipy on a naive loop."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from recsys_lora.evaluation.stack import RIDGE, Stack, can_be_fitted


def world(rows=400, seed=0):
    draw = np.random.default_rng(seed)
    scores = {"a": draw.normal(3, 2, rows), "b": draw.normal(0, 0.01, rows), "noise": draw.normal(size=rows)}
    logit = 0.8 * (scores["a"] - 3) + 60 * scores["b"] - 0.4
    return scores, (draw.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.float32)


def answered(label):
    """Return the place of the right one of Yes and No."""
    return np.where(label > 0, 0, 1)


def test_it_is_sklearns_logistic_regression():
    scores, label = world()
    test, _ = world(seed=1)
    stack = Stack.fit(scores, answered(label))
    x = np.column_stack([(v - v.mean()) / v.std() for v in scores.values()])
    oracle = LogisticRegression(C=1 / RIDGE, tol=1e-10, max_iter=1000).fit(x, label)
    np.testing.assert_allclose(list(stack.weights.values()), oracle.coef_[0], atol=1e-5)
    new = np.column_stack([(test[name] - v.mean()) / v.std() for name, v in scores.items()])
    np.testing.assert_allclose(stack.score(test), oracle.decision_function(new), atol=1e-4)
    assert stack.rows == 400


def test_what_knows_nothing_gets_no_weight_and_what_knows_more_helps():
    scores, label = world(rows=4000)
    test, truth = world(rows=4000, seed=1)
    whole = Stack.fit(scores, answered(label))
    assert abs(whole.weights["noise"]) < 0.1 < min(whole.weights["a"], whole.weights["b"])
    without = Stack.fit({name: values for name, values in scores.items() if name != "b"}, answered(label))
    assert roc_auc_score(truth, whole.score(test)) > roc_auc_score(truth, without.score(test)) + 0.02


def test_scores_that_separate_the_rows_and_constant_ones_stay_finite():
    label = np.array([0, 0, 1, 1], dtype=np.float32)
    perfect = np.array([-900.0, -800.0, 700.0, 900.0])
    stack = Stack.fit({"perfect": perfect, "constant": np.full(4, 0.3)}, answered(label))
    found = stack.score({"perfect": np.array([-1e6, 1e6]), "constant": np.full(2, 0.3)})
    assert np.isfinite(found).all()
    assert found[0] < 0 < found[1]
    assert stack.weights["constant"] == pytest.approx(0.0)


def test_a_constant_that_no_float_holds_is_constant():
    scores, target = candidates()
    stack = Stack.fit(scores | {"constant": np.full((*target.shape, 5), 0.1)}, target)
    assert stack.std["constant"] == 1.0
    assert stack.weights["constant"] == pytest.approx(0.0, abs=1e-12)


def test_one_answer_alone_is_refused():
    with pytest.raises(ValueError, match="of two answers both"):
        Stack.fit({"a": np.arange(3.0)}, np.ones(3, dtype=np.int64))
    assert can_be_fitted([np.ones((3, 4))], np.zeros(3, dtype=np.int64))  # the right candidate comes first in all
    with pytest.raises(ValueError, match="needs questions"):
        Stack.fit({"a": np.ones((0, 4))}, np.zeros(0, dtype=np.int64))


def candidates(questions=300, width=5, seed=0):
    draw = np.random.default_rng(seed)
    scores = {name: draw.normal(mean, std, (questions, width)) for name, mean, std in (("a", 4, 3), ("b", -1, 0.2))}
    scores["noise"] = draw.normal(size=(questions, width))
    utility = 0.5 * scores["a"] + 6 * scores["b"] + draw.gumbel(size=(questions, width))
    return scores, utility.argmax(axis=1)


def test_of_two_candidates_it_is_sklearns_regression_on_their_difference():
    scores, target = candidates(width=2)
    stack = Stack.fit(scores, target)
    x = np.column_stack([(v[:, 0] - v[:, 1]) / v.std() for v in scores.values()])
    oracle = LogisticRegression(C=1 / RIDGE, tol=1e-10, max_iter=1000, fit_intercept=False).fit(x, target == 0)
    np.testing.assert_allclose(list(stack.weights.values()), oracle.coef_[0], atol=1e-5)
    assert stack.intercept == 0.0


def test_of_several_candidates_it_minimises_the_conditional_logits_loss():
    scores, target = candidates()
    gone = np.zeros(target.shape, dtype=bool)
    gone[:40] = target[:40] != 4  # these questions have four candidates
    for values in scores.values():
        values[gone, 4] = -np.inf
    stack = Stack.fit(scores, target)
    standard = [(v - v[np.isfinite(v)].mean()) / v[np.isfinite(v)].std() for v in scores.values()]

    def loss(weights):
        total = RIDGE / 2 * (weights**2).sum()
        for place, right in enumerate(target):
            width = 4 if gone[place] else 5
            parts = np.array([w * s[place, :width] for w, s in zip(weights, standard, strict=True)])
            chances = np.exp(parts.sum(axis=0))
            total -= np.log(chances[right] / chances.sum())
        return total

    oracle = minimize(loss, np.zeros(3), tol=1e-10)
    np.testing.assert_allclose(list(stack.weights.values()), oracle.x, atol=1e-4)
    assert abs(stack.weights["noise"]) < 0.2 < min(stack.weights["a"], stack.weights["b"])
    found = stack.score(scores)
    assert np.isneginf(found[gone, 4]).all()
    assert np.isfinite(found).sum() == found.size - gone.sum()
    together = sum(w * s for w, s in zip(oracle.x, standard, strict=True))
    np.testing.assert_allclose(found[~gone], together[~gone], atol=1e-3)
    assert stack.rows == 300


def test_a_missing_candidate_stays_missing_whatever_weighs_nothing():
    scores = {"a": np.array([[1.0, -np.inf], [0.0, 1.0]]), "constant": np.array([[2.0, -np.inf], [2.0, 2.0]])}
    stack = Stack.fit(scores, np.array([0, 1]))
    assert stack.weights["constant"] == 0.0
    assert np.isneginf(stack.score(scores)[0, 1])
