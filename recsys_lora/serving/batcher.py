"""Micro-batching: one worker thread answers requests that come at about the same time as one batch.

A batch begins with the request that has waited longest, and is closed when that request has waited for the window, or
when the batch is full. Requests that come while a batch is computed wait for the next one, which then starts at once.
"""

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

C = TypeVar("C")
R = TypeVar("R")


class BusyError(Exception):
    """Too many requests are waiting, or the batcher is closed."""


@dataclass(frozen=True)
class Limits:
    """Upper limits of batches.

    Attributes:
        window: seconds that a request waits for others.
        max_batch: requests per batch.
        max_rows: rows per batch, unless a single request has more.
        max_waiting: waiting requests; further ones are rejected.
    """

    window: float = 0.005
    max_batch: int = 64
    max_rows: int = 5000
    max_waiting: int = 1024


@dataclass(frozen=True)
class Pending(Generic[C, R]):
    """A call that waits for its batch."""

    call: C
    rows: int
    since: float
    answer: "Future[R]" = field(default_factory=Future)


class Batcher(Generic[C, R]):
    """Answers calls in batches, on one thread of its own.

    Args:
        answer: returns the calls' answers, in order; an exception among them is raised in its caller.
        limits: limits of batches.
        measured: called with the number of requests in each batch.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[C]], Sequence[R | Exception]],
        limits: Limits,
        measured: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._answer = answer
        self.limits = limits
        self._measured = measured
        self._waiting: deque[Pending[C, R]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)
        self._thread.start()

    def submit(self, call: C, rows: int) -> "Future[R]":
        """Queue a call for a batch; a future that is cancelled before its batch begins costs nothing.

        Args:
            call: the call.
            rows: how many rows are computed for it.

        Raises:
            BusyError: too many calls are waiting, or the batcher is closed.
        """
        pending: Pending[C, R] = Pending(call, rows, time.monotonic())
        with self._changed:
            if self._closed or len(self._waiting) >= self.limits.max_waiting:
                raise BusyError("the server is closing" if self._closed else "too many requests wait: ask again later")
            self._waiting.append(pending)
            self._changed.notify_all()
        return pending.answer

    @property
    def waiting(self) -> int:
        """How many requests are waiting."""
        return len(self._waiting)

    @property
    def alive(self) -> bool:
        """Whether the worker thread is running."""
        return self._thread.is_alive()

    def close(self, timeout: float | None = None) -> None:
        """Take no more calls, answer those waiting, and end the thread; stop waiting for it after `timeout` seconds."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout)

    def _run(self) -> None:
        while batch := self._take():
            wanted = [pending for pending in batch if pending.answer.set_running_or_notify_cancel()]
            if wanted:
                self._measured(len(wanted))
                self._answer_all(wanted)

    def _take(self) -> list[Pending[C, R]]:
        """Wait for a batch; it is empty once the batcher is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return []
            due = self._waiting[0].since + self.limits.window
            while not (self._closed or self._is_full()) and (left := due - time.monotonic()) > 0:
                self._changed.wait(left)
            return self._cut()

    def _is_full(self) -> bool:
        rows = sum(pending.rows for pending in itertools.islice(self._waiting, self.limits.max_batch))
        return len(self._waiting) >= self.limits.max_batch or rows >= self.limits.max_rows

    def _cut(self) -> list[Pending[C, R]]:
        batch = [self._waiting.popleft()]
        rows = batch[0].rows
        while self._waiting and len(batch) < self.limits.max_batch:
            rows += self._waiting[0].rows
            if rows > self.limits.max_rows:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _answer_all(self, batch: Sequence[Pending[C, R]]) -> None:
        """Answer a batch; if it fails as a whole, every caller gets the error."""
        try:
            found = self._answer([pending.call for pending in batch])
            for pending, one in zip(batch, found, strict=True):
                if isinstance(one, Exception):
                    pending.answer.set_exception(one)
                else:
                    pending.answer.set_result(one)
        except Exception as error:
            for pending in batch:
                if not pending.answer.done():
                    pending.answer.set_exception(error)
