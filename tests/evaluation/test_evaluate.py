import json

import numpy as np
import pytest
from sklearn import metrics as sk

from recsys_lora.errors import UserError
from recsys_lora.evaluation.evaluate import block, evaluate
from recsys_lora.evaluation.trivial import ItemMean, global_mean
from recsys_lora.evaluation.warmth import warmth
from tests.evaluation.examples import predictions


def test_blocks_of_all_warm_and_cold_rows():
    pred = predictions()
    result = evaluate(pred)
    assert result["auc"] == pytest.approx(sk.roc_auc_score(pred.label, pred.score))
    assert result["rows"] == result["warm"]["rows"] + result["cold"]["rows"] == len(pred)
    warm = pred.warm["seen"] == 1
    assert result["warm"]["auc"] == pytest.approx(sk.roc_auc_score(pred.label[warm], pred.score[warm]))
    assert result["notebook"]["cold"]["rows"] == (pred.warm["notebook"] == 0).sum()
    assert result["warm_definition"] == "seen"
    assert "seen" not in result
    assert "seen" in evaluate(pred, warm="count")


def test_intervals_only_on_request():
    pred = predictions(rows=200)
    assert "intervals" not in evaluate(pred)
    result = evaluate(pred, draws=50)
    for part in (result, result["warm"], result["cold"]):
        low, high = part["intervals"]["auc"]
        assert low < part["auc"] < high


@pytest.mark.parametrize(
    ("mask", "reason"),
    [(lambda p: p.label == 1, "one class only"), (lambda p: p.label > 5, "no rows")],
)
def test_undefined_is_none_with_a_reason(mask, reason):
    pred = predictions(rows=60)
    result = block(pred.take(mask(pred)), draws=10)
    assert result["auc"] is None
    assert reason in result["undefined"]["auc"]
    assert result["uauc"] is None
    assert "uauc" in result["undefined"]
    assert "auc" not in result["intervals"]
    json.dumps(result, allow_nan=False)


def test_three_definitions_of_warm():
    user_counts, item_counts = np.array([0, 0, 1, 3, 4]), np.array([0, 0, 1, 3, 4])
    user, item = np.array([1, 1, 2, 2, 3, 4, 4]), np.array([1, 2, 2, 3, 3, 3, 4])
    found = {n: warmth(n, user, item, user_counts, item_counts).tolist() for n in ("seen", "count", "notebook")}
    assert found == {
        "seen": [0, 0, 1, 1, 1, 1, 1],
        "count": [0, 0, 0, 0, 1, 1, 1],
        "notebook": [0, -1, -1, -1, -1, -1, 1],
    }


def test_item_mean_shrinks_rare_items_and_gives_unseen_ones_the_mean():
    item, label = np.array([1, 1, 1, 1, 2, 3]), np.array([1, 1, 1, 0, 1, 0])
    popularity = ItemMean.fit(item, label, num_items=4, pretended_rows=2)
    chance = 1 / (1 + np.exp(-popularity.score(np.array([1, 2, 3, 4]))))
    p = 4 / 6
    np.testing.assert_allclose(chance, [(3 + 2 * p) / 6, (1 + 2 * p) / 3, 2 * p / 3, p])
    np.testing.assert_allclose(global_mean(label, 3), np.log(2))


def test_item_mean_without_rows_is_a_clear_error():
    with pytest.raises(UserError, match="no rows"):
        ItemMean.fit(np.zeros(0, dtype=int), np.zeros(0), 3)


def test_item_mean_of_one_class_stays_finite():
    assert np.isfinite(ItemMean.fit(np.array([1]), np.array([1]), 2).logit).all()
