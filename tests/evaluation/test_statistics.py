"""Every statistic against a loop that really copies the drawn users' rows, and scikit-learn's metrics."""

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, mean_squared_error, roc_auc_score

from recsys_lora.evaluation import bootstrap, statistics
from recsys_lora.evaluation.bootstrap import draws_of, summary_of
from recsys_lora.evaluation.statistics import AUC, UAUC, Mean, RootMean, ScalarMetric


def made(rows=400, users=25, seed=0):
    rng = np.random.default_rng(seed)
    user = rng.integers(1, users + 1, rows) * 3
    label = rng.integers(0, 2, rows)
    score = np.round(rng.normal(size=rows) + 0.7 * label, 1)
    return user, label, score


def summarise(found, user, draws, seed=0):
    """Return each statistic's summary, by name."""
    return {
        one.name: summary_of(one, drawn) for one, drawn in zip(found, draws_of(found, user, draws, seed), strict=True)
    }


def measures(user, label, score):
    error = score - label
    return [
        AUC("auc", user, label, score),
        UAUC("uauc", user, label, score),
        Mean("mae", user, np.abs(error), higher_is_better=False),
        RootMean("rmse", user, error**2),
    ]


def mean_of_users(user, label, score):
    own = []
    for one in np.unique(user):
        mine = user == one
        if 0 < label[mine].sum() < mine.sum():
            own.append(roc_auc_score(label[mine], score[mine]))
    return np.mean(own)


def naive(user, label, score):
    return {
        "auc": roc_auc_score(label, score),
        "uauc": mean_of_users(user, label, score),
        "mae": mean_absolute_error(label, score),
        "rmse": np.sqrt(mean_squared_error(label, score)),
    }


def copied(user, label, score, counts, everyone):
    """The rows of a draw: each drawn user's, as often as drawn, repeated users being users of their own."""
    parts = [
        (np.flatnonzero(user == one), number * 1000 + copy)
        for number, (one, times) in enumerate(zip(everyone, counts, strict=True))
        for copy in range(int(times))
    ]
    index = np.concatenate([rows for rows, _ in parts])
    return np.concatenate([np.full(len(rows), name) for rows, name in parts]), label[index], score[index]


def test_values_are_scikit_learn_s():
    rows = made()
    for statistic in measures(*rows):
        assert statistic.value() == pytest.approx(naive(*rows)[statistic.name], abs=1e-12)
        assert statistic.reason is None


def test_draws_equal_copied_rows(monkeypatch):
    rows = made()
    everyone = np.unique(rows[0])
    monkeypatch.setattr(bootstrap, "ELEMENTS_AT_ONCE", 7 * len(everyone))  # several parts, the last one smaller
    monkeypatch.setattr(statistics, "ELEMENTS_AT_ONCE", 3 * len(rows[0]))  # and parts of these
    drawn = draws_of(measures(*rows), rows[0], draws=20, seed=3)
    counts = np.random.default_rng(3).multinomial(len(everyone), np.full(len(everyone), 1 / len(everyone)), size=20)
    for index, times in enumerate(counts):
        expected = naive(*copied(*rows, times, everyone))
        for statistic, values in zip(measures(*rows), drawn, strict=True):
            assert values[index] == pytest.approx(expected[statistic.name], abs=1e-12)


def test_the_summary_s_interval_is_the_percentiles_of_the_draws():
    rows = made()
    found = summarise(measures(*rows), rows[0], draws=300, seed=1)
    for statistic, drawn in zip(measures(*rows), draws_of(measures(*rows), rows[0], 300, 1), strict=True):
        entry = found[statistic.name]
        assert entry["interval"] == pytest.approx([np.percentile(drawn, 2.5), np.percentile(drawn, 97.5)])
        assert entry["interval"][0] < entry["value"] < entry["interval"][1]
        assert entry["reason"] is None
    assert found == summarise(measures(*rows), rows[0], draws=300, seed=1)
    assert found != summarise(measures(*rows), rows[0], draws=300, seed=2)
    assert all(entry["interval"] is None for entry in summarise(measures(*rows), rows[0], draws=0).values())


def test_a_statistic_of_some_users_reads_their_columns():
    user, _, score = made()
    some = user > 40
    whole = draws_of([Mean("all", user, np.where(some, score, 0)), Mean("share", user, some * 1.0)], user, 50, 0)
    part = draws_of([Mean("part", user[some], score[some])], user, 50, 0)[0]
    np.testing.assert_allclose(part, whole[0] / whole[1])
    with pytest.raises(ValueError, match="not drawn from"):
        draws_of([Mean("all", user, score)], user[some], 5, 0)


def test_a_models_own_values_by_user_are_those_of_its_rows():
    user, label, score = made()
    found = {one.name: one.by_user() for one in measures(user, label, score)}
    assert found["auc"] is None
    assert found["rmse"] is None
    users, values = found["mae"]
    assert users.tolist() == np.unique(user).tolist()
    error = np.abs(score - label)
    np.testing.assert_allclose(values, [error[user == one].mean() for one in users])
    users, values = found["uauc"]
    for one, value in zip(users, values, strict=True):
        assert value == pytest.approx(roc_auc_score(label[user == one], score[user == one]))
    assert UAUC("uauc", user, label, score).counted == len(users)


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    # Scores of positives lie one normal deviation above those of negatives: the true AUC is Phi(1 / sqrt(2)).
    hits = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        user, label = rng.integers(1, 101, 400), rng.integers(0, 2, 400)
        low, high = summarise([AUC("auc", user, label, rng.normal(size=400) + label)], user, 200)["auc"]["interval"]
        hits += low <= 0.7602 <= high
    assert 50 <= hits <= 60


def test_what_is_undefined_says_why():
    user, label, score = made(rows=12)
    none = np.zeros(0)
    found = summarise(
        [
            AUC("one class", user, label * 0, score),
            UAUC("uauc", user, label * 0, score),
            AUC("auc", none, none, none),
            Mean("empty", none, none),
            Mean("infinite", user, np.where(label, np.inf, 0)),
            ScalarMetric("bleu", None, reason="no texts"),
        ],
        user,
        draws=10,
    )
    assert all(entry["value"] is None and entry["interval"] is None for entry in found.values())
    assert [entry["reason"] for entry in found.values()] == [
        "one class only: 0 of 12 rows are positive",
        "no user has rows of both classes",
        "no rows",
        "no rows",
        "a row's value is infinite",
        "no texts",
    ]
    with pytest.raises(ValueError, match="NaN"):
        Mean("mean", user, score * np.nan)
    with pytest.raises(ValueError, match="shape"):
        Mean("mean", user[1:], score)


def test_a_plain_number_has_a_value_and_no_interval():
    user = made()[0]
    found = summarise([ScalarMetric("bleu", 12.5)], user, draws=10)["bleu"]
    assert found == {
        "value": 12.5,
        "interval": None,
        "standard_error": None,
        "reason": "a number of the whole corpus has no interval over users",
        "users": None,
    }
    with pytest.raises(ValueError, match="no reason"):
        ScalarMetric("bleu", None)


def test_one_user_alone_gives_no_interval():
    user, label, score = np.array([1, 1, 2, 3]), np.array([0, 1, 1, 0]), np.array([0.1, 0.9, 0.5, 0.2])
    overall, by_user = AUC("auc", user, label, score), UAUC("uauc", user, label, score)
    drawn = draws_of([overall, by_user, Mean("share", np.ones(4), label)], np.array([1, 2, 3]), 50, 0)
    assert np.isfinite(drawn[0]).any()
    found = summary_of(by_user, drawn[1])
    assert (found["value"], found["users"], found["interval"], found["standard_error"]) == (1.0, 1, None, None)
    assert found["reason"] == "one user alone gives no interval"
    assert np.isnan(drawn[2]).all()
    assert summary_of(overall, drawn[0])["reason"] is None
