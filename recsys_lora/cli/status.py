"""`status.json`: the status of the run or sweep in a folder."""

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
    """Status of a run or a sweep.

    Attributes:
        status: running (also if it was killed), finished or failed.
        overrides: those it was started with.
        error: why it failed, as one line; None if it did not.
        fingerprint: hash of its config, see `folders.described`.
    """

    status: State
    overrides: list[str]
    error: str | None = None
    fingerprint: str | None = None


def read_status(folder: Path) -> Status | None:
    """Return the status of the run in a folder; None if there is none or it cannot be read."""
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
    """Write the status of the run in a folder."""
    write_json(folder / STATUS, vars(status))
