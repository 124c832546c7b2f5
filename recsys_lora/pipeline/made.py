"""`artifacts.json` in a run's folder: the artifacts that hold what the run made, by which it is loaded again."""

from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import home, write_json

FILE, STORE = "artifacts.json", "artifacts"


@dataclass(frozen=True)
class Made:
    """Where a run's results are; paths are below the folder of all artifacts, where they are in it.

    Attributes:
        prepare: the folder of the prepared data.
        cf: that of the fitted encoder; None where the run has none.
        cf_key: what the method's weights call that encoder; None where the run has none.
        weights: the file with what the method trained; None where nothing is.
    """

    prepare: str
    cf: str | None
    cf_key: str | None
    weights: str | None


def write_made(
    folder: Path, root: Path, prepare: Path, cf: Path | None, cf_key: str | None, weights: Path | None
) -> None:
    """Keep where the parts of a run are.

    Args:
        folder: the run's.
        root: of all artifacts.
        prepare: see `Made`.
        cf: see `Made`.
        cf_key: see `Made`.
        weights: see `Made`.
    """
    encoder, trained = (None if path is None else _below(root, path) for path in (cf, weights))
    write_json(folder / FILE, asdict(Made(_below(root, prepare), encoder, cf_key, trained)))


def read_made(folder: Path) -> Made:
    """Return where the parts of a run are.

    Raises:
        UserError: the folder is not a run's, or is of a run that has not come so far.
    """
    path = folder / FILE
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder: give the folder of a run, or of an exported bundle")
    if not path.is_file():
        raise UserError(
            f"{folder}: no {FILE} here: give the folder of a finished run or of an exported bundle; a run of an older "
            "version gets one by the same command again, with resume=FOLDER"
        )
    try:
        return TypeAdapter(Made).validate_json(path.read_bytes(), strict=True)
    except ValidationError as error:
        raise UserError(f"{path}: not what a run writes ({error.errors()[0]['msg']}): run it again") from error


def root_of(folder: Path) -> Path:
    """Return the folder of all artifacts that a run's are in: its own where it brings them along, as a bundle does."""
    own = folder / STORE
    return own if own.is_dir() else home() / STORE


def _below(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path.absolute())
