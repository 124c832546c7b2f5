from functools import partial

import pytest

from recsys_lora.cf.din import DIN
from recsys_lora.cf.lightgcn import LightGCN
from recsys_lora.cf.mf import MF
from recsys_lora.cf.sasrec import SASRec
from tests.cf.made_data import checkerboard

FACTORIES = {
    "mf": partial(MF, dim=16, init_std=0.1),
    "lightgcn": partial(LightGCN, dim=16),
    "sasrec": partial(SASRec, dim=16, history_length=6, heads=2),
    "din": partial(DIN, dim=8, history_length=6, attention_sizes=[8], sizes=[16]),
}


@pytest.fixture(scope="module")
def board():
    return checkerboard()


@pytest.fixture(params=sorted(FACTORIES))
def factory(request):
    """Each encoder in turn, small; a new one joins every test of the family by its line in FACTORIES."""
    return FACTORIES[request.param]
