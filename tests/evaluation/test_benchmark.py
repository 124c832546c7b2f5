"""Warm and cold rows of the ML-1M benchmark's test split, as published, on the real files where a person has them."""

import os
from pathlib import Path

import numpy as np
import pytest

from recsys_lora.data.prepare import prepare
from recsys_lora.data.readers.movielens import MovieLens1M
from recsys_lora.data.split import MovieLensBenchmark
from recsys_lora.evaluation.baselines import PositiveShare
from recsys_lora.evaluation.ranking import auc
from recsys_lora.evaluation.warm_cold import COLD, WARM
from recsys_lora.tasks.ctr import ClickThrough, of_rows
from recsys_lora.tasks.predictions import warm_flags
from tests.tasks.world import prompts


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
    score = PositiveShare.fit(train.item, train.label, data.num_items).score(test.item)
    questions = of_rows(test)
    flags = warm_flags(data, questions)
    assert {name: ((own == WARM).sum(), (own == COLD).sum()) for name, own in flags.items()} == {
        "seen": (4153, 3178),
        "count": (3682, 3649),
        "notebook": (3522, 26),
    }
    found = {one.name: one for one in ClickThrough(**prompts()).metrics(questions, score)}
    assert (len(questions), found["uauc"].counted) == (7331, 224)
    assert found["auc"].value() == auc(test.label, score) > 0.55
    np.testing.assert_array_equal(flags["seen"] == WARM, test.seen)
