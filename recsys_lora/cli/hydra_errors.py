"""Passes exceptions through Hydra, which otherwise only logs those of callbacks and prints those of jobs."""

import contextlib
from collections.abc import Iterator


class HydraBypass(BaseException):
    """Carries an exception to the caller of Hydra.

    Attributes:
        error: the exception.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class FailedJobsError(Exception):
    """Jobs of a sweep failed; the message is one line about them."""


@contextlib.contextmanager
def bypass_hydra() -> Iterator[None]:
    """Let exceptions raised in the block reach the caller of Hydra."""
    try:
        yield
    except Exception as error:
        raise HydraBypass(error) from error
