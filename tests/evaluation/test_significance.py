"""The bootstrap against one that really copies the drawn users' rows."""

import time

import numpy as np
import pytest

from recsys_lora.evaluation import bootstrap as users_bootstrap
from recsys_lora.evaluation.significance import bootstrap, interval, intervals, paired_difference
from recsys_lora.metrics.ranking import auc, log_loss, user_auc
from tests.evaluation.examples import predictions


def copied(pred, weight):
    """Each metric of one draw: rows are repeated, and repeated users are users of their own."""
    users = np.unique(pred.user)
    label, score, user = [], [], []
    for index, times in enumerate(weight.astype(int)):
        mine = pred.user == users[index]
        for copy in range(times):
            label.append(pred.label[mine])
            score.append(pred.score[mine])
            user.append(np.full(mine.sum(), index * 1000 + copy))
    label, score, user = np.concatenate(label), np.concatenate(score), np.concatenate(user)
    return {
        "auc": auc(label, score),
        "uauc": user_auc(user, label, score)[1].mean(),
        "log_loss": log_loss(label, score),
    }


def test_draws_equal_copied_rows(monkeypatch):
    pred = predictions()
    monkeypatch.setattr(users_bootstrap, "ELEMENTS_AT_ONCE", 7 * len(pred))  # several parts, the last one smaller
    drawn = bootstrap(pred, draws=20, seed=3)
    users = len(np.unique(pred.user))
    random = np.random.default_rng(3)
    shares = np.full(users, 1 / users)
    weights = np.concatenate([random.multinomial(users, shares, size=size) for size in (7, 7, 6)])
    for index, weight in enumerate(weights):
        for metric, value in copied(pred, weight).items():
            assert drawn[metric][index] == pytest.approx(value, abs=1e-12)


def test_interval_holds_its_value_and_is_reproducible():
    pred = predictions()
    for metric, found in intervals(pred, draws=200, seed=1).items():
        assert found.low < found.value < found.high
        assert found == interval(pred, metric, seed=1, draws=200)
    assert interval(pred, "auc", seed=2, draws=200) != interval(pred, "auc", seed=1, draws=200)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    # Scores of positives lie one normal deviation above those of negatives: the true AUC is Phi(1 / sqrt(2)).
    hits = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        pred = predictions(rows=400, users=100, seed=seed)
        found = interval(
            type(pred)(
                **{**vars(pred), "score": rng.normal(size=400) + pred.label},
            ),
            "auc",
            draws=200,
        )
        hits += found.low <= 0.7602 <= found.high
    assert 50 <= hits <= 60


def test_paired_difference():
    first = predictions(signal=1.5)
    second = predictions(signal=0.5)
    found = paired_difference(first, second, "auc", draws=300)
    assert found.value == interval(first, "auc").value - interval(second, "auc").value
    assert 0 < found.low < found.value < found.high
    shuffle = np.random.default_rng(0).permutation(len(second))
    assert paired_difference(first, second.take(shuffle), "auc", draws=300) == pytest.approx(found, abs=1e-12)
    same = paired_difference(first, first, "uauc", draws=50)
    assert same == (0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="same rows"):
        paired_difference(first, second.take(np.arange(5)), "auc")


def test_undefined_is_nan():
    pred = predictions(rows=10)
    one_class = pred.take(pred.label == 1)
    for found in (interval(one_class, "auc", draws=10), interval(pred.take(np.arange(0)), "uauc", draws=10)):
        assert np.isnan(found).all()


def test_a_thousand_draws_on_the_benchmark_size_take_seconds():
    pred = predictions(rows=7331, users=320)
    start = time.perf_counter()
    intervals(pred, draws=1000)
    seconds = time.perf_counter() - start
    assert seconds < 15, f"{seconds:.1f} s"
