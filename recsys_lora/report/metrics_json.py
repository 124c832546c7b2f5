"""metrics.json: every number of a run, in a format that programs may rely on (docs/metrics_json.md)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from recsys_lora.report.metrics_schema import VERSION, Metrics
from recsys_lora.utils.errors import UserError, first_problem
from recsys_lora.utils.files import read_json, write_json


def validated(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Validate the record and return it in its JSON form.

    Raises:
        ValueError: it does not follow the schema.
    """
    return Metrics.model_validate(metrics).model_dump(mode="json", exclude_none=False)


def write_metrics(path: Path, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Validate metrics.json, write it atomically and return what was written.

    Raises:
        ValueError: it does not follow the schema.
    """
    record = validated(metrics)
    write_json(path, record)
    return record


def read_metrics(path: Path) -> dict[str, Any]:
    """Read a run's metrics.json.

    Raises:
        UserError: the file does not exist, or is not one of this version.
    """
    if not path.is_file():
        raise UserError(f"{path}: not there: the run has not finished, or this is not a run folder")
    try:
        return validated(read_json(path))
    except ValidationError as error:
        raise UserError(f"{path}: {first_problem(error)}: not a metrics.json of version {VERSION}") from error
