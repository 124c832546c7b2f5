"""The best items are those of sorting the whole catalogue's scores."""

import numpy as np
import pytest
import torch

from recsys_lora.cf import retrieval
from recsys_lora.cf.encoder import Catalogue
from tests.rounding import assert_close


@pytest.mark.parametrize("blocks", [1, 7, 10_000])
def test_they_are_those_of_sorting_single_scores(factory, board, blocks, monkeypatch):
    monkeypatch.setattr(retrieval, "ELEMENTS_AT_ONCE", blocks * (board.num_items + 1))
    monkeypatch.setattr(retrieval, "PAIRS_AT_ONCE", 5 * blocks)
    torch.manual_seed(0)
    encoder = factory(Catalogue.from_prepared(board)).eval()
    users = np.array([3, 1, 8, 3])
    hidden = [board.history.of(user) for user in users.tolist()]
    popularity = np.random.default_rng(0).integers(0, 3, board.num_items + 1)
    found = list(retrieval.retrieve(encoder, users, board.history, hidden, popularity, 5))
    assert len(found) == len(users)
    for user, out, (items, scores) in zip(users.tolist(), hidden, found, strict=True):
        every = [item for item in range(1, board.num_items + 1) if item not in set(out.tolist())]
        position = np.full(len(every), len(out))
        row = np.full(len(every), user), position
        history = torch.from_numpy(board.history.last(*row, encoder.history_length))
        with torch.no_grad():
            single = encoder.score(torch.from_numpy(row[0]), history, torch.tensor(every)).numpy()
        assert_close(scores, np.sort(single)[::-1][:5].astype(np.float64))
        assert_close(scores, single[[every.index(item) for item in items.tolist()]].astype(np.float64))


def test_equal_scores_stand_by_popularity_and_then_in_order():
    scores = np.array([-np.inf, 1, 2, 1, 1, -np.inf, 2, 1])
    popularity = np.array([0, 5, 0, 7, 7, 9, 3, 1])
    assert retrieval.best(scores, popularity, 5).tolist() == [6, 2, 3, 4, 1]
    assert retrieval.best(scores, popularity, 99).tolist() == [6, 2, 3, 4, 1, 7]
    assert retrieval.best(np.full(3, -np.inf), popularity[:3], 2).tolist() == []
