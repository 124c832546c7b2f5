"""Warm and cold by each definition, and what knows nothing of the user."""

import numpy as np
import pytest

from recsys_lora.evaluation.baselines import PositiveShare, global_mean, item_and_user
from recsys_lora.evaluation.warm_cold import warm_cold
from recsys_lora.utils.errors import UserError


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
    popularity = PositiveShare.fit(item, label, largest=4, pseudo_rows=2)
    chance = 1 / (1 + np.exp(-popularity.score(np.array([1, 2, 3, 4]))))
    p = 4 / 6
    np.testing.assert_allclose(chance, [(3 + 2 * p) / 6, (1 + 2 * p) / 3, 2 * p / 3, p])
    np.testing.assert_allclose(global_mean(label, 3), np.log(2))


def test_item_mean_without_rows_is_a_clear_error():
    with pytest.raises(UserError, match="no rows"):
        PositiveShare.fit(np.zeros(0, dtype=int), np.zeros(0), 3)


def test_item_mean_of_one_class_stays_finite():
    assert np.isfinite(PositiveShare.fit(np.array([1]), np.array([1]), 2).logit).all()


def test_item_and_user_add_what_each_says_beyond_the_mean():
    user, item = np.array([1, 1, 1, 2, 2, 3]), np.array([1, 2, 3, 1, 2, 1])
    label = np.array([1, 1, 0, 1, 0, 0])
    items, users = PositiveShare.fit(item, label, 4, 5.0), PositiveShare.fit(user, label, 4, 5.0)

    def logit(positives, rows):
        chance = (positives + 2.5) / (rows + 5)
        return np.log(chance / (1 - chance))

    found = item_and_user(items, users, np.array([1, 3, 4, 4]), np.array([2, 4, 1, 4]))
    # The mean of all rows is one half, whose logit is zero; user and item 4 are unseen.
    np.testing.assert_allclose(found, [logit(2, 3) + logit(1, 2), logit(0, 1), logit(2, 3), 0], atol=1e-12)
    sad = PositiveShare.fit(item, np.array([1, 0, 0, 0, 0, 0]), 4), PositiveShare.fit(user, np.eye(6)[0], 4)
    np.testing.assert_allclose(item_and_user(*sad, np.array([4]), np.array([4])), np.log((1 / 6) / (5 / 6)))
