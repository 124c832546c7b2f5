"""A mistake of the person's ends a command with one line on standard error and exit status 2."""

import contextlib
import sys
from collections.abc import Iterator

from recsys_lora.utils.errors import UserError

MISTAKE = 2
"""The exit status."""


@contextlib.contextmanager
def mistakes_told() -> Iterator[None]:
    """Tell a mistake made in the block, and leave the process."""
    try:
        yield
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(MISTAKE) from error
