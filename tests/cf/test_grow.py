"""An encoder with room for more users and items: what it says of the others stays, and the new ones are unseen."""

from functools import partial

import numpy as np
import pytest
import torch

from recsys_lora.cf.binary_mf import BinaryMF
from recsys_lora.cf.encoder import Catalogue, CollaborativeEncoder
from recsys_lora.cf.fit import score_rows
from recsys_lora.cf.mf import MF
from recsys_lora.utils.errors import UserError
from tests.cf.conftest import FACTORIES
from tests.cf.test_contract import made
from tests.rounding import assert_close

USERS, ITEMS = 2, 3


MORE = {"binary_mf": partial(BinaryMF, dim=8), "mf-biases": partial(MF, dim=8, init_std=0.1, biases=True)}
HISTORY = [("mf", "history"), ("mf-biases", "history"), ("lightgcn", "history")]


@pytest.mark.parametrize(
    ("name", "unseen"), [*((name, unseen) for name in (*FACTORIES, *MORE) for unseen in ("zero", "mean")), *HISTORY]
)
def test_new_ids_are_unseen_ids(name, unseen, board):
    factory = partial({**FACTORIES, **MORE}[name], unseen=unseen)
    encoder, rows = made(factory, board), board.rows("test")
    expected = score_rows(encoder, rows, board.history)
    encoder.grow(USERS, ITEMS)
    assert_close(score_rows(encoder, rows, board.history), expected)

    larger = Catalogue.from_prepared(board)
    seen = [torch.nn.functional.pad(side, (0, more)) for side, more in
            ((larger.seen_users, USERS), (larger.seen_items, ITEMS))]  # fmt: skip
    sizes = board.num_users + USERS, board.num_items + ITEMS
    fresh = factory(Catalogue(*sizes, larger.train_user, larger.train_item, *seen)).eval()
    own = fresh.state_dict()
    assert {key: value.shape for key, value in own.items()} == {k: v.shape for k, v in encoder.state_dict().items()}
    fresh.load_state_dict(encoder.state_dict())
    user = torch.arange(sizes[0] + 1).repeat_interleave(sizes[1])
    item = torch.arange(1, sizes[1] + 1).repeat(sizes[0] + 1)
    history = torch.from_numpy(np.resize(np.arange(1, sizes[1] + 1), (len(user), max(1, encoder.history_length))))
    with torch.no_grad():
        for found, right in zip(encoder.encode(user, history, item), fresh.encode(user, history, item), strict=True):
            assert_close(found, right)
        assert_close(encoder.score(user, history, item), fresh.score(user, history, item))


def test_an_encoder_that_does_not_say_how_is_refused():
    with pytest.raises(UserError, match=r"CollaborativeEncoder makes no room .*give it grow"):
        CollaborativeEncoder().grow(1, 0)
