"""Ranks over a whole catalogue against a loop over sorted lists, scikit-learn and torchmetrics."""

import numpy as np
import pytest
import torch
from sklearn.metrics import ndcg_score
from torchmetrics.functional.retrieval import retrieval_hit_rate

from recsys_lora.evaluation.catalogue import ItemLists, catalogue_ranks, hit_rate_at, ndcg_at

USERS, ITEMS = 23, 60


def world(integer=False, seed=0):
    """Return (users, items, relevant, known): up to five relevant and up to ten known items a user; user 3 has none."""
    random = np.random.default_rng(seed)
    users, items = (random.normal(size=(n, 4)).astype(np.float32) for n in (USERS, ITEMS + 1))
    if integer:  # many ties, and exact
        users, items = users.round(), items.round()
    items[0] = 9.0  # padding would win
    relevant, known = [], []
    for user in range(USERS):
        drawn = random.permutation(ITEMS)[:15] + 1
        relevant += [(user, item) for item in drawn[: 0 if user == 3 else random.integers(1, 6)]]
        known += [(user, item) for item in drawn[5 : 5 + random.integers(0, 11)]]
    lists = [ItemLists.of(*np.array(random.permutation(pairs)).T, USERS) for pairs in (relevant, known)]
    return torch.from_numpy(users), torch.from_numpy(items), *lists


def per_user(users, items, relevant, known):
    """Yield (scores, label) of each user's list, without padding and known items."""
    for user in range(USERS):
        scores = (users[user].double() @ items.double().T).numpy()
        label = np.isin(np.arange(ITEMS + 1), relevant.items[relevant.offsets[user] : relevant.offsets[user + 1]])
        listed = ~np.isin(np.arange(ITEMS + 1), [0, *known.items[known.offsets[user] : known.offsets[user + 1]]])
        yield scores[listed], label[listed]


def sorted_ranks(scores, label):
    """Return the ranks of what is relevant: a plain sort, in which of equals the irrelevant stand first."""
    places = sorted(range(len(scores)), key=lambda place: (-scores[place], label[place]))
    return sorted(1 + rank for rank, place in enumerate(places) if label[place])


@pytest.mark.parametrize("integer", [False, True], ids=["no ties", "ties"])
@pytest.mark.parametrize("elements", [1, 5 * (ITEMS + 1), 10**6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ranks_are_those_of_sorted_lists(integer, elements, dtype):
    users, items, relevant, known = world(integer)
    got = catalogue_ranks(users.to(dtype), items.to(dtype), relevant, known, elements)
    for user, one in enumerate(per_user(users, items, relevant, known)):
        assert sorted(got[relevant.offsets[user] : relevant.offsets[user + 1]]) == sorted_ranks(*one)


@pytest.mark.parametrize("k", [1, 3, 20])
def test_measures_are_scikit_learns_and_torchmetrics(k):
    data = world()
    ranks = catalogue_ranks(*data)
    hits, ndcg = hit_rate_at(ranks, data[2], k), ndcg_at(ranks, data[2], k)
    for user, (scores, label) in enumerate(per_user(*data)):
        if user == 3:
            assert np.isnan(hits[user])
            assert np.isnan(ndcg[user])
            continue
        assert ndcg[user] == pytest.approx(ndcg_score(label[None], scores[None], k=k), abs=1e-9)
        assert hits[user] == float(retrieval_hit_rate(torch.tensor(scores), torch.tensor(label), top_k=k))
    assert 0 < np.nanmean(hits) < 1


def test_lists_keep_a_pair_once_in_order():
    lists = ItemLists.of(np.array([2, 0, 2, 2]), np.array([5, 7, 1, 5]), 4)
    assert lists.offsets.tolist() == [0, 1, 1, 3, 3]
    assert lists.items.tolist() == [7, 1, 5]
    assert lists.query.tolist() == [0, 2, 2]


def test_what_cannot_be_is_refused():
    users, items, relevant, known = world()
    with pytest.raises(ValueError, match="relevant to a query and known"):
        catalogue_ranks(users, items, relevant, relevant)
    with pytest.raises(ValueError, match="lists of relevant"):
        catalogue_ranks(users[1:], items, relevant, known)
    users[2, 1] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        catalogue_ranks(users, items, relevant, known)


def test_nothing_relevant_has_no_ranks():
    users, items, _, known = world()
    nothing = ItemLists(np.zeros(USERS + 1, dtype=np.int64), np.zeros(0, dtype=np.int64))
    ranks = catalogue_ranks(users, items, nothing, known)
    assert ranks.shape == (0,)
    assert np.isnan(ndcg_at(ranks, nothing, 5)).all()
