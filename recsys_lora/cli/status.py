"""`status.json`: how the run, or the sweep, of a folder stands."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from recsys_lora.utils.files import write_json

State = Literal["running", "finished", "failed"]
STATUS = "status.json"
RUNNING: State = "running"
FINISHED: State = "finished"
FAILED: State = "failed"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Status:
    """How a run or a sweep stands.

    Attributes:
        status: running (also of one that was killed), finished or failed.
        overrides: what it was started with.
        error: why it failed, one line; None where it did not.
        fingerprint: of its config, see `folders.described`.
    """

    status: State
    overrides: list[str]
    error: str | None = None
    fingerprint: str | None = None


def read_status(folder: Path) -> Status | None:
    """Return how the run of a folder stands; None where none has been there, or what it left cannot be read."""
    path = folder / STATUS
    if not path.is_file():
        return None
    try:
        return TypeAdapter(Status).validate_json(path.read_bytes(), strict=True)
    except (OSError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        log.warning("%s: passed over, it cannot be read as the status of a run (%s)", path, reason)
        return None


def write_status(folder: Path, status: Status) -> None:
    """Keep how the run of a folder stands."""
    write_json(folder / STATUS, vars(status))
