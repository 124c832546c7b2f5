"""Which rows tasks ask, against the sizes of published samples."""

import os
from pathlib import Path

import numpy as np
import pytest

from recsys_lora.data.prepare import prepare
from recsys_lora.data.prepared import PreparedData
from recsys_lora.data.readers.movielens import MovieLens1M
from recsys_lora.data.split import MovieLensBenchmark
from recsys_lora.tasks.selection import within
from tests.jobs import resolved
from tests.tasks import world


def test_a_range_holds_both_ends():
    rows = world.many().rows("train")
    for least, most in ((0, 0), (1, 2), (3, 9)):
        kept = within(rows, [least, most])
        assert kept.row.tolist() == [row for row, p in zip(rows.row, rows.position, strict=True) if least <= p <= most]
    assert within(rows, None) is rows


def test_ckf_asks_the_rows_of_ml_1m_that_its_authors_ask(tmp_path):
    """The published sample: 14,760 rows train and 1,865 test, of 729 users, 54 of whom have a row of an unseen pair."""
    if not (root := os.environ.get("RECSYS_LORA_TEST_DATA")):
        pytest.skip("RECSYS_LORA_TEST_DATA names no folder of raw files")
    prepare(MovieLens1M(Path(root) / "ml-1m"), MovieLensBenchmark(), name="ml_1m", positive=4, out=tmp_path / "ml_1m")
    data = PreparedData.load(tmp_path / "ml_1m")
    asked = resolved("model=ckf", "data=ml_1m", "preset=published")["task"]["ctr"]["history_range"]
    train, test = (within(data.rows(split), asked) for split in ("train", "test"))
    assert (len(train), len(test)) == (14_760, 1_865)
    assert len(np.unique(np.r_[train.user, test.user])) == 729
    assert len(np.unique(test.user[~test.seen])) == 54
