"""Many read at once, one writes alone."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from recsys_lora.recommender.read_write_lock import ReadWriteLock

SOON = 0.05


def test_readers_are_in_together_and_a_writer_is_alone():
    gate, both, inside = ReadWriteLock(), threading.Barrier(2, timeout=10), []

    def read():
        with gate.reading():
            both.wait()  # passes only where the other one is in, too
            inside.append("reader")

    def write():
        with gate.writing():
            inside.append("writer in")
            assert not done.wait(SOON)
            inside.append("writer out")

    done = threading.Event()
    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        [reader.result(timeout=10) for reader in readers]
        writers = [pool.submit(write) for _ in range(2)]
        [writer.result(timeout=10) for writer in writers]
    assert inside == ["reader", "reader", *["writer in", "writer out"] * 2]


def test_a_writer_who_waits_goes_before_readers_who_come_later():
    gate, order = ReadWriteLock(), []
    with ThreadPoolExecutor(2) as pool:
        with gate.reading():
            writer = pool.submit(lambda: _in(gate.writing(), order, "writer"))
            while not gate._waiting:
                pass
            reader = pool.submit(lambda: _in(gate.reading(), order, "reader"))
            assert not threading.Event().wait(SOON)
            assert order == []
        writer.result(timeout=10)
        reader.result(timeout=10)
    assert order == ["writer", "reader"]


@pytest.mark.parametrize("side", ["reading", "writing"])
def test_an_error_leaves_nothing_locked(side):
    gate = ReadWriteLock()
    with pytest.raises(RuntimeError, match="stop"), getattr(gate, side)():
        raise RuntimeError("stop")
    with gate.writing():
        pass
    with gate.reading():
        pass


def _in(held, order, name):
    with held:
        order.append(name)
