"""Warm and cold by each definition, and what knows nothing of the user."""

import numpy as np
import pytest

from recsys_lora.errors import UserError
from recsys_lora.evaluation.baselines import ItemMean, global_mean
from recsys_lora.evaluation.warm_cold import warm_cold


def test_three_definitions_of_warm():
    user_counts, item_counts = np.array([0, 0, 1, 3, 4]), np.array([0, 0, 1, 3, 4])
    user, item = np.array([1, 1, 2, 2, 3, 4, 4]), np.array([1, 2, 2, 3, 3, 3, 4])
    found = {n: warm_cold(n, user, item, user_counts, item_counts).tolist() for n in ("seen", "count", "notebook")}
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
