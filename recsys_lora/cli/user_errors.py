"""How a command ends: a user error is one line on standard error and exit status 2."""

import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from typing import NoReturn

from recsys_lora.utils.errors import UserError

FAILED_JOBS, UNREAD, MISTAKE, SIGNALLED = 1, 1, 2, 128
"""Exit statuses: failed jobs of a sweep, output that nobody reads, a user error, a signal (plus its number)."""


def leave(line: str, status: int) -> NoReturn:
    """Print a line on standard error and exit."""
    sys.stderr.write(f"{line}\n")
    raise SystemExit(status)


@contextlib.contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Exit with one line of error if the block raises a `UserError` or is interrupted."""
    try:
        with plain_output():
            yield
    except UserError as error:
        leave(f"error: {error}", MISTAKE)
    except KeyboardInterrupt:
        leave("interrupted", SIGNALLED + signal.SIGINT)


@contextlib.contextmanager
def plain_output() -> Iterator[None]:
    """End the process silently when nobody reads its output any more, as after `| head`.

    Characters that the terminal cannot show are written as question marks.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    status: str | int = UNREAD
    try:
        try:
            yield
        except SystemExit as end:  # as argparse leaves after --help
            status = end.code or UNREAD
            sys.stdout.flush()
            raise
        sys.stdout.flush()
    except BrokenPipeError:
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - the interpreter flushes once more at its end
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        raise SystemExit(status) from None
