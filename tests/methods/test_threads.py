"""Several threads score with one method, as a service does: each row's score is what it is alone."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from recsys_lora.cf.inference import evaluating
from recsys_lora.methods.candidates import score_candidates
from tests.methods import factory
from tests.methods.asking import score_rows
from tests.methods.synthetic import WORDS, prepared

METHODS = {
    "cora": lambda data, encoder: factory.cora(data, encoder, dropout=0.3, generator={"dropout": 0.3}),
    "cora-suffix": lambda data, encoder: factory.cora(data, encoder, scope="suffix"),
    "graphlora": factory.graphlora,
    "collm": factory.collm,
}
THREADS = 4


@pytest.fixture(params=METHODS, ids=str)
def scored(request):
    """Yield a method whose layers do something, in training mode as a fit leaves it, and its data."""
    data, encoder = prepared(users=30, items=30, rows_each=12, dim=4)
    module = METHODS[request.param](data, encoder)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.lowrank.parameters():
            parameter.normal_(std=0.3)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield module.train(), module.datamodule(data, WORDS, seed=0, token_budget=100), data
    sys.setswitchinterval(interval)


def test_rows_are_scored_as_by_one_thread(scored):
    module, datamodule, data = scored
    parts = [data.rows("test").take(np.arange(start, 40, THREADS)) for start in range(THREADS)]
    expected = [score_rows(module, datamodule, part, show=False) for part in parts]
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda part: score_rows(module, datamodule, part, show=False), parts * 3))
    for got, right in zip(found, expected * 3, strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-5, atol=1e-5)
    assert module.training


def test_candidates_are_scored_as_by_one_thread(scored):
    module, datamodule, _ = scored
    users, items = list(range(1, 9)), [3, 9, 1, 20]
    expected = [score_candidates(module, datamodule, user, items) for user in users]
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda user: score_candidates(module, datamodule, user, items), users))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_the_last_to_finish_gives_the_module_its_mode_back():
    module = torch.nn.Linear(1, 1).train()
    with evaluating(module):
        with evaluating(module):
            assert not module.training
        assert not module.training
    assert module.training
