"""Requests are gathered, cut and answered in batches, each with its own answer."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from recsys_lora.serving.batcher import Batcher, BusyError, Limits


class Squares:
    """Answers numbers by their squares, and keeps the batches; the first one waits until it is let go."""

    def __init__(self, limits, held=False):
        self.batches, self.sizes, self.go = [], [], threading.Event()
        self.began = threading.Event()
        if not held:
            self.go.set()
        self.batcher = Batcher(self.answer, limits, self.sizes.append)

    def answer(self, calls):
        self.batches.append(list(calls))
        self.began.set()
        assert self.go.wait(10)
        return [ValueError(f"{call} is odd") if call % 2 else call * call for call in calls]


@pytest.fixture
def squares():
    """Return what makes one; all are closed at the end."""
    made = []

    def make(held=False, **limits):
        made.append(Squares(Limits(**limits), held))
        return made[-1]

    yield make
    for one in made:
        one.go.set()
        one.batcher.close(10)
        assert not one.batcher.alive


def test_what_comes_within_the_window_is_one_batch(squares):
    one = squares(window=1.0)
    futures = [one.batcher.submit(number, 1) for number in (2, 4, 6)]
    assert [future.result(10) for future in futures] == [4, 16, 36]
    assert one.batches == [[2, 4, 6]]
    assert one.sizes == [3]


def test_without_a_window_and_with_batches_of_one_each_is_alone(squares):
    one = squares(window=0, max_batch=1)
    assert [one.batcher.submit(number, 1).result(10) for number in (2, 4)] == [4, 16]
    assert one.batches == [[2], [4]]


def test_a_full_batch_does_not_wait_for_the_window(squares):
    one, begun = squares(window=60, max_batch=2), time.monotonic()
    assert [future.result(10) for future in [one.batcher.submit(2, 1), one.batcher.submit(4, 1)]] == [4, 16]
    assert time.monotonic() - begun < 10


def test_what_came_meanwhile_is_the_next_batch_and_rows_bound_it(squares):
    one = squares(held=True, window=0, max_rows=10, max_batch=3)
    first = one.batcher.submit(2, 1)
    assert one.began.wait(10)
    later = [one.batcher.submit(number, rows) for number, rows in ((4, 5), (6, 5), (8, 1), (10, 99), (12, 1))]
    one.go.set()
    assert [future.result(10) for future in (first, *later)] == [4, 16, 36, 64, 100, 144]
    assert one.batches == [[2], [4, 6], [8], [10], [12]]


def test_each_gets_its_own_mistake(squares):
    one = squares(window=0.3)
    right, wrong = one.batcher.submit(2, 1), one.batcher.submit(3, 1)
    assert right.result(10) == 4
    with pytest.raises(ValueError, match="3 is odd"):
        wrong.result(10)


def test_a_failure_reaches_all_and_the_next_batch_is_answered():
    calls = []

    def answer(batch):
        calls.append(batch)
        if len(calls) == 1:
            raise RuntimeError("out of memory")
        return batch

    batcher = Batcher(answer, Limits(window=1.0))
    futures = [batcher.submit(number, 1) for number in (1, 2)]
    for future in futures:
        with pytest.raises(RuntimeError, match="out of memory"):
            future.result(10)
    assert batcher.submit(5, 1).result(10) == 5
    batcher.close(10)


def test_who_gives_up_costs_nothing_and_too_many_are_turned_away(squares):
    one = squares(held=True, window=0, max_waiting=2)
    first = one.batcher.submit(2, 1)
    assert one.began.wait(10)
    gone, stays = one.batcher.submit(4, 1), one.batcher.submit(6, 1)
    assert one.batcher.waiting == 2
    with pytest.raises(BusyError, match="too many"):
        one.batcher.submit(8, 1)
    assert gone.cancel()
    one.go.set()
    assert (first.result(10), stays.result(10)) == (4, 36)
    assert one.batches == [[2], [6]]


def test_closing_answers_those_who_wait(squares):
    one = squares(window=60)
    waiting = one.batcher.submit(2, 1)
    one.batcher.close(10)
    assert waiting.result(0) == 4
    with pytest.raises(BusyError, match="closing"):
        one.batcher.submit(4, 1)


def test_many_threads_get_their_own(squares):
    one = squares(window=0.001, max_batch=7)
    with ThreadPoolExecutor(16) as pool:
        numbers = [2 * number for number in range(300)]
        assert list(pool.map(lambda n: one.batcher.submit(n, 1).result(10), numbers)) == [n * n for n in numbers]
    assert sorted(call for batch in one.batches for call in batch) == numbers
    assert max(map(len, one.batches)) <= 7
