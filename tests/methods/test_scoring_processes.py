"""Scoring on several processes: each row once, and the same scores as on one."""

import numpy as np
import pytest

from tests import processes
from tests.methods import factory
from tests.methods.asking import score_rows
from tests.methods.synthetic import WORDS, prepared
from tests.rounding import assert_close

ROWS = 7  # an odd number, and fewer rows than some shares would need


def scores():
    data, _ = prepared(users=10, items=20, rows_each=12, dim=4, titles=[f"Film {n}" for n in range(20)])
    module = factory.zero_shot(data)
    datamodule = module.datamodule(data, WORDS, seed=0, token_budget=60)
    return score_rows(module, datamodule, data.rows("test").take(np.arange(ROWS)), show=False)


def work(rank, folder):
    np.save(f"{folder}/{rank}.npy", scores())


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3])
def test_all_processes_get_all_scores(world, tmp_path):
    processes.run(work, world, tmp_path)
    for rank in range(world):
        assert_close(np.load(tmp_path / f"{rank}.npy"), scores())
