"""Warm and cold rows of the ML-1M benchmark's test split, as published, on the real files where a person has them."""

import os
from pathlib import Path

import numpy as np
import pytest

from recsys_lora.data.prepare import prepare
from recsys_lora.data.readers.movielens import MovieLens1M
from recsys_lora.data.split import MovieLensBenchmark
from recsys_lora.errors import UserError
from recsys_lora.evaluation.evaluate import evaluate
from recsys_lora.evaluation.predictions import Predictions
from recsys_lora.evaluation.trivial import ItemMean
from recsys_lora.metrics.ranking import auc


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    if not (root := os.environ.get("RECSYS_LORA_TEST_DATA")):
        pytest.skip("RECSYS_LORA_TEST_DATA names no folder of raw files")
    patch = pytest.MonkeyPatch()
    patch.setenv("RECSYS_LORA_HOME", str(tmp_path_factory.mktemp("home")))
    out = tmp_path_factory.mktemp("data") / "ml_1m"
    yield prepare(MovieLens1M(Path(root) / "ml-1m"), MovieLensBenchmark(), name="ml_1m", positive=4, out=out)
    patch.undo()


def test_warm_and_cold_rows_are_the_published_numbers(data):
    train, test = data.rows("train"), data.rows("test")
    score = ItemMean.fit(train.item, train.label, data.num_items).score(test.item)
    result = evaluate(Predictions.of(test, score, data, "test"))
    found = {"seen": result, "count": result["count"], "notebook": result["notebook"]}
    assert {name: (part["warm"]["rows"], part["cold"]["rows"]) for name, part in found.items()} == {
        "seen": (4153, 3178),
        "count": (3682, 3649),
        "notebook": (3522, 26),
    }
    assert (result["rows"], result["uauc_users"]) == (7331, 224)
    assert result["auc"] == auc(test.label, score) > 0.55
    pred = Predictions.of(test, score, data, "test")
    np.testing.assert_array_equal(pred.warm["seen"] == 1, test.seen)


def test_scores_that_are_no_numbers_are_refused_with_their_row(data):
    test = data.rows("test")
    score = np.zeros(len(test))
    score[5] = np.nan
    with pytest.raises(UserError, match=rf"1 of 7331 test rows .* row {test.row[5]} "):
        Predictions.of(test, score, data, "test")
    with pytest.raises(ValueError, match="7331 rows"):
        Predictions.of(test, score[:5], data, "test")
