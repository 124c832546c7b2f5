"""AUC and UAUC against scikit-learn, ties and one-class users included."""

import time

import numpy as np
import pytest
from sklearn import metrics as sk

from recsys_lora.evaluation.ranking import auc, hit_rate_at, log_loss, mrr, ndcg_at, uauc, user_auc


def rows(seed, n=1500, users=80, levels=None, dtype=np.float64):
    rng = np.random.default_rng(seed)
    user = rng.integers(0, users, n)
    label = rng.integers(0, 2, n)
    score = (rng.normal(size=n) + 0.3 * label).astype(dtype)
    return user, label, (np.round(score * levels) / levels).astype(dtype) if levels else score


def sklearn_per_user(user, label, score):
    return {
        u: sk.roc_auc_score(label[user == u], score[user == u])
        for u in np.unique(user)
        if len(np.unique(label[user == u])) == 2
    }


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("levels", [None, 1, 5])
@pytest.mark.parametrize("seed", [0])
def test_auc_and_user_auc_equal_scikit_learn(seed, levels, dtype):
    user, label, score = rows(seed, levels=levels, dtype=dtype)
    assert auc(label, score) == pytest.approx(sk.roc_auc_score(label, score), abs=1e-12)
    users, values = user_auc(user, label, score)
    expected = sklearn_per_user(user, label, score)
    assert users.tolist() == list(expected)
    np.testing.assert_allclose(values, list(expected.values()), atol=1e-12, rtol=0)
    assert uauc(user, label, score) == (pytest.approx(np.mean(list(expected.values())), abs=1e-9), len(expected))


def test_users_with_one_class_are_left_out_and_counted():
    user = np.array([7, 7, 3, 3, 3, 9])
    label = np.array([1, 1, 0, 1, 0, 0])
    score = np.array([0.1, 0.2, 0.5, 0.5, 0.1, 3.0])
    users, values = user_auc(user, label, score)
    assert users.tolist() == [3]
    assert values.tolist() == [0.75]
    assert uauc(user, label, score) == (0.75, 1)


def test_order_of_rows_and_kind_of_ids_do_not_matter():
    user, label, score = rows(3, levels=3)
    shuffle = np.random.default_rng(0).permutation(len(user))
    names = np.char.add("user-", user.astype(str))
    assert uauc(user, label, score) == pytest.approx(uauc(names[shuffle], label[shuffle], score[shuffle]), abs=1e-12)


def test_constant_scores_are_exactly_one_half():
    user, label, _ = rows(0)
    assert auc(label, np.zeros(len(label))) == 0.5
    assert uauc(user, label, np.zeros(len(label)))[0] == 0.5


def test_infinities_are_scores_like_others():
    assert auc(np.array([0, 1, 1]), np.array([-np.inf, np.inf, 0.0])) == 1.0


@pytest.mark.parametrize("label", [[], [1, 1], [0]])
def test_undefined_is_nan(label):
    label = np.array(label, dtype=int)
    assert np.isnan(auc(label, np.zeros(len(label))))
    value, users = uauc(np.zeros(len(label), dtype=int), label, np.zeros(len(label)))
    assert np.isnan(value)
    assert users == 0


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="1 of 2 scores are NaN"):
        auc(np.array([0, 1]), np.array([0.0, np.nan]))
    with pytest.raises(ValueError, match="0 or 1"):
        auc(np.array([0, 2]), np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="shape"):
        auc(np.array([0, 1, 1]), np.array([0.0, 1.0]))


def test_log_loss_equals_scikit_learn_and_survives_large_logits():
    _, label, logit = rows(5)
    assert log_loss(label, logit) == pytest.approx(sk.log_loss(label, 1 / (1 + np.exp(-logit))), abs=1e-12)
    assert log_loss(np.array([1, 0]), np.array([1e6, -1e6])) == 0.0
    assert log_loss(np.array([0]), np.array([1e6])) == 1e6


def test_five_million_rows_take_seconds():
    user, label, score = rows(0, n=5_000_000, users=200_000, dtype=np.float32)
    start = time.perf_counter()
    _, users = uauc(user, label, score)
    seconds = time.perf_counter() - start
    assert users > 199_000
    assert seconds < 15, f"{seconds:.1f} s"


def lists(seed, levels=None, relevant=0.2):
    rng = np.random.default_rng(seed)
    score = rng.normal(size=(200, 12))
    relevance = (rng.random((200, 12)) < relevant).astype(float)
    return (np.round(score * levels) / levels if levels else score), relevance


@pytest.mark.parametrize("k", [1, 5, 12, 20])
@pytest.mark.parametrize("graded", [False, True])
def test_ndcg_equals_scikit_learn_without_ties(k, graded):
    score, relevance = lists(0)
    relevance = relevance * np.random.default_rng(1).integers(1, 5, relevance.shape) if graded else relevance
    ours = ndcg_at(score, relevance, k)
    some = relevance.sum(axis=1) > 0
    assert np.isnan(ours[~some]).all()
    assert (~some).any()
    for q in np.flatnonzero(some):
        assert ours[q] == pytest.approx(sk.ndcg_score(relevance[q : q + 1], score[q : q + 1], k=k), abs=1e-12)


def test_ties_go_against_the_model_whatever_the_order_of_candidates():
    score, relevance = lists(2, levels=1)
    pessimistic = score - 1e-6 * relevance
    shuffle = np.random.default_rng(0).permutation(score.shape[1])
    for metric in (lambda s, r: ndcg_at(s, r, 5), lambda s, r: hit_rate_at(s, r, 3), mrr):
        np.testing.assert_array_equal(metric(score, relevance), metric(pessimistic, relevance))
        np.testing.assert_allclose(metric(score, relevance), metric(score[:, shuffle], relevance[:, shuffle]))
    constant = np.zeros((1, 10))
    assert hit_rate_at(constant, np.eye(1, 10), 9).tolist() == [0.0]
    assert mrr(constant, np.eye(1, 10)).tolist() == [0.1]


def test_hit_rate_and_mrr_equal_a_plain_loop():
    score, relevance = lists(4)
    for q in range(len(score)):
        ordered = relevance[q][np.argsort(-score[q])]
        first = np.flatnonzero(ordered)
        if len(first) == 0:
            assert np.isnan(mrr(score, relevance)[q])
            continue
        assert mrr(score, relevance)[q] == 1 / (first[0] + 1)
        assert hit_rate_at(score, relevance, 3)[q] == float(first[0] < 3)


def test_padding_candidates_never_help():
    score, relevance = lists(5)
    padded = np.pad(score, ((0, 0), (0, 4)), constant_values=-np.inf)
    np.testing.assert_array_equal(ndcg_at(padded, np.pad(relevance, ((0, 0), (0, 4))), 5), ndcg_at(score, relevance, 5))
