"""While a job goes on, the loss of one of its processes ends it, also where the first waits for no other.

A process that exchanges something with a dead one fails by itself. Rank 0 also fetches, prepares, fits and reports
alone, for hours perhaps, while the others wait for it: then a thread watches them, and wakes it by a signal.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from recsys_lora.utils.errors import UserError

POLL_SECONDS = 0.5
GRACE_SECONDS = 5.0
"""How long this process may take to fail by itself, which says more: whatever ended the other may be met here, too."""
_WAKE: int = getattr(signal, "SIGCHLD", 0)
"""It comes at the end of any child anyway; 0: none here."""


@contextlib.contextmanager
def watched(lost: Callable[[], str | None]) -> Iterator[None]:
    """End a block of the main thread soon after something is lost; in other threads, do nothing.

    Args:
        lost: asked now and then from another thread: what has been lost, one line; None for nothing.

    Raises:
        UserError: something has been lost; the line is that of `lost`.
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
