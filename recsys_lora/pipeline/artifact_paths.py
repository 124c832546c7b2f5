"""`artifacts.json` in a run folder: the paths of the artifacts from which the run is loaded."""

from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import home, write_json

FILE, STORE = "artifacts.json", "artifacts"
CONFIG_FILE = "config.yaml"


@dataclass(frozen=True)
class ArtifactPaths:
    """The paths of a run's artifacts, relative to the artifact store if they are in it.

    Attributes:
        prepare: the folder of the prepared data.
        cf: the folder of the fitted encoder; None if the run has none.
        cf_key: the encoder's key in the method's weights; None if the run has no encoder.
        weights: the file of the trained weights; None if there are none.
    """

    prepare: str
    cf: str | None
    cf_key: str | None
    weights: str | None


def write_artifact_paths(
    folder: Path, root: Path, prepare: Path, cf: Path | None, cf_key: str | None, weights: Path | None
) -> None:
    """Write a run's `ArtifactPaths` into its folder; paths below `root`, the store's, become relative to it."""
    encoder, trained = (None if path is None else _below(root, path) for path in (cf, weights))
    write_json(folder / FILE, asdict(ArtifactPaths(_below(root, prepare), encoder, cf_key, trained)))


def newest_run(folder: Path) -> Path:
    """Return the folder if it is a run's, else the most recently finished run in it, at most three levels down.

    A job in `runs/sweeps` is three levels below `runs`.
    """
    if (folder / FILE).is_file():
        return folder
    finished = [path for depth in ("*", "*/*", "*/*/*") for path in folder.glob(f"{depth}/{FILE}") if path.is_file()]
    return max(finished, key=lambda path: (path.stat().st_mtime_ns, path)).parent if finished else folder


def read_artifact_paths(folder: Path) -> ArtifactPaths:
    """Read the paths of a run's artifacts.

    Raises:
        UserError: the folder is not a run's, or the run has not finished.
    """
    path = folder / FILE
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder: give the folder of a run, or of an exported bundle")
    if not (folder / CONFIG_FILE).is_file():
        raise UserError(f"{folder}: holds no run (no {CONFIG_FILE}): give that of a run, or of an exported bundle")
    if not path.is_file():
        raise UserError(
            f"{folder}: no {FILE} here: the run has not finished; its own command, given again with resume={folder}, "
            "finishes it, and adds the file to a run of an older version"
        )
    try:
        return TypeAdapter(ArtifactPaths).validate_json(path.read_bytes(), strict=True)
    except ValidationError as error:
        raise UserError(f"{path}: not what a run writes ({error.errors()[0]['msg']}): run it again") from error


def artifacts_root(folder: Path) -> Path:
    """Return the root of a run's artifact store; a bundle contains its own."""
    own = folder / STORE
    return own if own.is_dir() else home() / STORE


def _below(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path.absolute())
