"""User errors end a command with one line on standard error and exit status 2."""

import contextlib
import sys
from collections.abc import Iterator

from recsys_lora.utils.errors import UserError

MISTAKE = 2
"""The exit status."""


@contextlib.contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Print a `UserError` raised in the block, and exit."""
    try:
        yield
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(MISTAKE) from error
