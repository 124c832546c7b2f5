"""Ends a job when one of its processes dies, even while rank 0 is not waiting for the others.

A process that communicates with a dead one fails by itself. But rank 0 also fetches, prepares, fits and reports alone,
perhaps for hours, while the others wait for it: a thread then watches them, and interrupts rank 0 by a signal.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from recsys_lora.utils.errors import UserError

POLL_SECONDS = 0.5
GRACE_SECONDS = 5.0
"""How long this process may take to fail by itself, which is more informative: the same error may occur here, too."""
_WAKE: int = getattr(signal, "SIGCHLD", 0)
"""Sent whenever a child process ends anyway; 0: none here."""


@contextlib.contextmanager
def watched(lost: Callable[[], str | None]) -> Iterator[None]:
    """End a block in the main thread soon after `lost` reports something; in other threads, do nothing.

    Args:
        lost: called repeatedly from another thread; returns one line about what has been lost, or None.

    Raises:
        UserError: `lost` reported something; the message is its line.
    """
    main = threading.main_thread()
    if threading.current_thread() is not main or not _WAKE:
        yield
        return
    ended, said = threading.Event(), list[str]()

    def wake(number: int, frame: FrameType | None) -> None:
        if said and not ended.is_set():
            raise UserError(said.pop())

    def watch() -> None:
        while not ended.wait(POLL_SECONDS):
            if line := lost():
                if not ended.wait(GRACE_SECONDS):
                    said.append(line)
                    signal.pthread_kill(main.ident or 0, _WAKE)
                return

    before = signal.signal(_WAKE, wake)
    watching = threading.Thread(target=watch, name="watch", daemon=True)
    watching.start()
    try:
        yield
    finally:
        ended.set()
        watching.join()
        signal.signal(_WAKE, before or signal.SIG_DFL)
