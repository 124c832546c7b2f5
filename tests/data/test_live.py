"""Data in use: histories move, users and items come, and what was there keeps its place."""

import numpy as np
import polars as pl
import pytest

from recsys_lora.data.history import ChangedHistory, History, Pairs
from recsys_lora.data.known import Known
from recsys_lora.data.live import LiveData
from recsys_lora.data.rated import RatedHistory
from recsys_lora.methods.candidates import pair_questions
from tests.methods.synthetic import prepared

USERS, ITEMS = 6, 30


@pytest.fixture(scope="module")
def base():
    return prepared(users=USERS, items=ITEMS, rows_each=12)[0]


def known(*items):
    numbers = np.array(items, dtype=np.int64)
    return Known(numbers, np.full(len(items), 4.0, dtype=np.float32), np.ones(len(items), dtype=bool))


def test_a_changed_history_is_one_that_was_built_so():
    base = {1: [4, 5, 6], 2: [], 3: [9]}
    changed = {2: [7, 8], 4: [1, 2, 3]}
    offsets = np.array([0, 0, 3, 3, 4])
    history = ChangedHistory(
        offsets, np.array([4, 5, 6, 9]), {user: np.array(items) for user, items in changed.items()}
    )
    every = {**base, **changed}
    rows = [(user, position) for user, items in every.items() for position in range(len(items) + 1)]
    user, position = (np.array(column) for column in zip(*rows, strict=True))
    for k in (1, 2, 5):
        expected = [([0] * k + every[u][:p])[-k:] for u, p in rows]
        assert history.last(user, position, k).tolist() == expected
    assert [history.of(number).tolist() for number in range(1, 6)] == [*(every[u] for u in (1, 2, 3, 4)), []]
    assert isinstance(history, History)


def test_nothing_changes_at_first(base):
    live, rows = LiveData(base), base.rows("test")
    window = rows.user, rows.position, 5
    assert np.array_equal(live.history.last(*window), base.history.last(*window))
    assert np.array_equal(live.history_ratings.last(*window), base.history_ratings.last(*window))
    assert live.titles == base.titles
    assert live.raw_user_ids == [*base.raw_user_ids, None]
    assert (live.num_users, live.num_items, live.key) == (USERS + 1, ITEMS, base.key)
    assert live.known(live.anonymous).items.tolist() == []


def test_what_is_known_is_what_the_rows_say(base):
    rows = base.interactions.filter(pl.col("user") == 3)
    found = LiveData(base).known(3)
    assert found.items.tolist() == rows["item"].to_list()
    assert found.ratings.tolist() == rows["rating"].to_list()
    assert found.positives.tolist() == rows.filter(pl.col("label") > 0)["item"].to_list()
    assert found.positive_ratings.tolist() == rows.filter(pl.col("label") > 0)["rating"].to_list()


def test_drawn_negatives_were_never_met(base):
    drawn = prepared(users=USERS, items=ITEMS, rows_each=12)[0]
    drawn.manifest["negatives"] = {"train": 1, "test": 1, "seed": 0}
    live = LiveData(drawn)
    assert live.known(3).items.tolist() == LiveData(base).known(3).positives.tolist()


def test_events_follow_what_was_known_and_the_old_data_stay(base):
    live = LiveData(base)
    before = live.known(2)
    after = before.then(Known(np.array([7, 9]), np.array([5.0, 1.0], dtype=np.float32), np.array([True, False])))
    moved = live.with_known({2: after})
    last = np.array([2]), np.array([len(after.positives)]), 2
    assert moved.history.last(*last).tolist() == [[before.positives[-1], 7]]
    assert moved.history_ratings.last(*last).tolist() == [[5.0, 5.0]]
    assert moved.known(2).items.tolist() == [*before.items, 7, 9]
    assert live.known(2).items.tolist() == before.items.tolist()


@pytest.mark.parametrize("k", [1, 3, 20])
def test_all_that_is_rated_shows_as_what_was_prepared(base, k):
    """A user who is known as before, but by the call, has the same rated rows at every position."""
    live = LiveData(base)
    again = live.with_known({2: live.known(2), live.anonymous: live.known(2)})
    for position in range(len(live.known(2).positives) + 1):
        windows = []
        for data, user in ((base, 2), (live, 2), (again, 2), (again, live.anonymous)):
            rated = RatedHistory(data)
            asked = pair_questions(base, Pairs(*(np.array([n]) for n in (user, 1, position))))
            window = asked.user, rated.position(asked), k
            windows.append([part.last(*window).tolist() for part in (rated.items, rated.ratings)])
        assert windows[1:] == windows[:1] * 3
    anonymous = pair_questions(live, Pairs(*(np.array([n]) for n in (live.anonymous, 1, 0))))
    assert RatedHistory(live).position(anonymous).tolist() == [0]


def test_users_and_items_come_behind_those_there_are(base):
    live = LiveData(base).with_users(["new"]).with_items(pl.DataFrame({"item_id": ["n1"], "title": ["New"]}))
    again = live.with_items(pl.DataFrame({"item_id": ["n2"], "title": ["Newer"]})).with_users(["newer"])
    assert again.user_numbers["new"] == USERS + 2
    assert again.user_numbers["newer"] == USERS + 3
    assert again.raw_item_ids[-2:] == ["n1", "n2"]
    assert again.titles[-2:] == ["New", "Newer"]
    assert again.item_numbers["n2"] == again.num_items == ITEMS + 2
    counts = again.train_counts()
    assert [len(count) for count in counts] == [USERS + 4, ITEMS + 3]
    assert counts[1][-2:].tolist() == [0, 0]
    assert again.with_known({USERS + 2: known(3, 4)}).known(USERS + 2).items.tolist() == [3, 4]
