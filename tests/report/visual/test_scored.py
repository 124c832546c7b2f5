"""What pictures show of scores, against scikit-learn and scipy."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import rankdata
from sklearn.calibration import calibration_curve
from sklearn.metrics import auc as area
from sklearn.metrics import roc_auc_score, roc_curve

from recsys_lora.report.visual.scored import (
    EXAMPLES,
    POINTS,
    Scored,
    auc_within,
    calibration,
    disagreement,
    grouped,
    percentile,
    roc,
    slices,
)


def made(rows: int = 400, ties: bool = False, seed: int = 0):
    random = np.random.default_rng(seed)
    label = random.random(rows) < 0.6
    score = label + random.normal(size=rows)
    return label, np.round(score, 1) if ties else score


@pytest.mark.parametrize("ties", [True, False])
def test_a_roc_curve_is_sklearns(ties):
    label, score = made(150, ties)
    false, true = roc(label, score)
    expected = roc_curve(label, score, drop_intermediate=False)
    np.testing.assert_allclose(false, expected[0])
    np.testing.assert_allclose(true, expected[1])


def test_a_thinned_roc_curve_has_the_same_area_and_ends():
    label, score = made(20_000)
    false, true = roc(label, score)
    assert len(false) == POINTS + 1
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert area(false, true) == pytest.approx(roc_auc_score(label, score), abs=1e-3)


def test_calibration_is_sklearns_in_groups_of_the_same_size():
    label, score = made(1000)
    found = list(calibration(label, score))
    share, chance = calibration_curve(label, 1 / (1 + np.exp(-score)), n_bins=10, strategy="quantile")
    np.testing.assert_allclose([one[0] for one in found], chance)
    np.testing.assert_allclose([one[1] for one in found], share)
    assert [one[3] for one in found] == [100] * 10
    assert found[3][2] == pytest.approx(np.sqrt(share[3] * (1 - share[3]) / 100))


def test_percentiles_are_ranks():
    _, score = made(77, ties=True)
    np.testing.assert_allclose(percentile(score), (rankdata(score) - 1) / 76)
    assert percentile(np.array([3.0])).tolist() == [0.0]


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([0, 0, 1, 2, 3, 4, 5, 6], ["0", "1–2", "3–4", "5–6"]),
        ([1, 1, 1, 1, 1, 9], ["1", "9"]),
        ([0, 0], ["0"]),
        ([5], ["5"]),
        ([7, 8000], ["7", "8,000"]),
    ],
)
def test_groups_are_named_by_their_ends(values, names):
    found = grouped(np.array(values))
    assert [name for name, _ in found] == names
    assert np.sum([flags for _, flags in found], axis=0).tolist() == [1] * len(values)


def test_groups_of_many_values_have_about_the_same_size():
    sizes = [flags.sum() for _, flags in grouped(np.random.default_rng(0).integers(1, 1000, 3000))]
    assert len(sizes) == 3
    assert max(sizes) - min(sizes) < 30


def table(rows: int = 400):
    random, (label, first), (_, other) = np.random.default_rng(3), made(rows), made(rows, seed=1)
    return pl.DataFrame(
        {
            "user_id": [f"u{number}" for number in random.integers(0, 40, rows)],
            "label": label.astype(np.float32),
            "history_length": random.integers(0, 30, rows),
            "item_rows": random.integers(0, 3, rows),
            "user_rows": random.integers(0, 3, rows),
            "score of cf": first,
            "score of cora": other,
        }
    )


def test_slices_part_the_questions():
    frame = table()
    found = slices(frame)
    for groups in found.values():
        assert np.sum([flags for _, flags in groups], axis=0).tolist() == [1] * len(frame)
    kinds = dict(found["warm and cold"])
    assert kinds["warm"].sum() == len(frame.filter((pl.col("user_rows") > 0) & (pl.col("item_rows") > 0)))
    assert kinds["both new"].sum() == len(frame.filter((pl.col("user_rows") == 0) & (pl.col("item_rows") == 0)))


def test_a_slice_has_its_own_auc_and_an_interval_around_it():
    frame = table()
    line = Scored("cf", 1, frame, "cf")
    inside = frame["item_rows"].to_numpy() == 1
    value, low, high = auc_within(line, inside)
    assert value == pytest.approx(roc_auc_score(line.label[inside], line.score[inside]))
    assert low < value < high
    assert auc_within(line, inside & line.label) is None


def test_disagreement_names_the_questions_furthest_apart():
    frame = table()
    found = disagreement(Scored("cf", 1, frame, "cf"), Scored("cora", 0, frame, "cora"))
    cf, cora = (rankdata(frame[f"score of {name}"].to_numpy()) for name in ("cf", "cora"))
    gap = cora - cf
    assert set(found.above) == set(np.argsort(-gap)[:EXAMPLES].tolist())
    assert set(found.below) == set(np.argsort(gap)[:EXAMPLES].tolist())
    assert gap[found.above[0]] == gap.max()
    furthest = np.argsort(-np.abs(gap), kind="stable")[:40]
    assert found.rows == 40
    label = frame["label"].to_numpy()[furthest]
    expected = [roc_auc_score(label, frame[f"score of {name}"].to_numpy()[furthest]) for name in ("cf", "cora")]
    assert found.aucs == pytest.approx(expected)
    same = Scored("cf", 1, frame, "cf")
    assert disagreement(same, same).above == disagreement(same, same).below == []
