"""User errors end a command with one line on standard error and exit status 2."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator

from recsys_lora.utils.errors import UserError

MISTAKE = 2
"""The exit status."""
UNREAD = 1
"""That of output that nobody reads."""


@contextlib.contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Print a `UserError` raised in the block, and exit."""
    try:
        with plain_output():
            yield
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(MISTAKE) from error


@contextlib.contextmanager
def plain_output() -> Iterator[None]:
    """End the process in silence where nobody reads its output any more, as after `| head`.

    A character that the terminal has not is written as a question mark.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - the interpreter flushes once more at its end
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        raise SystemExit(UNREAD) from None
