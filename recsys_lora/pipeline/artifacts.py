"""Results of stages, cached under a key made of all that they depend on.

Two runs that ask for one artifact at the same moment make it once: the second waits for the first. An artifact is a
folder that appears whole or not at all, with an `artifact.json` that says what it was made of and holds the checksums
of its files: one that is damaged is made again. Sizes and times are compared at every use, contents once a machine.
"""

import datetime
import json
import logging
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, Timeout

from recsys_lora.processes.group import SINGLE, ProcessGroup
from recsys_lora.utils.checksums import remembered_sha256
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import atomic_folder, content_key, file_sha256, read_json, sweep_temporary, write_json
from recsys_lora.utils.locks import released, take
from recsys_lora.utils.version import __version__

log = logging.getLogger(__name__)

RECORD = "artifact.json"
_SECONDS_BEFORE_SAYING_SO = 2.0


@dataclass(frozen=True)
class Artifact:
    """A finished result.

    Attributes:
        folder: where it lies.
        key: 16 hex digits over its stage and all that it depends on.
        reused: True where it was found, False where this run made it.
    """

    folder: Path
    key: str
    reused: bool


@dataclass(frozen=True)
class ArtifactStore:
    """The cache of stage results.

    Attributes:
        root: the folder of all artifacts.
        force: stages whose artifacts are made again even where they exist.
        processes: those of the job, this one among them.
        remember: keep in the cache which contents were compared, so that this is done once a machine.
    """

    root: Path
    force: frozenset[str] = frozenset()
    processes: ProcessGroup = SINGLE
    remember: bool = True

    def get(
        self,
        stage: str,
        label: str,
        depends: Mapping[str, Any],
        make: Callable[[Path], object],
        together: bool = False,
    ) -> Artifact:
        """Return the artifact that `depends` names, made by `make` where it does not exist.

        Args:
            stage: prepare, cf, method, test: what `stage.force` names.
            label: a readable beginning of the folder's name.
            depends: JSON-able: all that the result depends on, upstream keys included.
            make: fills an empty folder with the result; raising leaves nothing behind.
            together: all processes of the job make it, as in training; what those but the first write is thrown away.
                Otherwise the first makes it while the others wait.

        Raises:
            UserError: the disk is full or cannot be written.
        """
        key = self.key(stage, depends)
        parent = self.root / stage
        folder = parent / f"{label}-{key}"
        if not self.processes.is_rank_zero:
            found = self.processes.broadcast(False)
            if not found and together:
                with tempfile.TemporaryDirectory() as scratch:
                    make(Path(scratch))
            self.processes.barrier()
            return Artifact(folder, key, reused=found)
        reusable = stage not in self.force
        # What is complete is taken without the lock, which a cache that cannot be written would refuse.
        if reusable and _intact(folder):
            found = self.processes.broadcast(True)
        else:
            with released(_taken(parent / f".{key}.lock", label)):
                found = self.processes.broadcast(reusable and _intact(folder))  # another run may have made it meanwhile
                if not found:
                    self._make(stage, key, depends, make, folder)
        if found:
            log.info("%s %s: reused (%s)", stage, label, key)
        self.processes.barrier()
        return Artifact(folder, key, reused=found)

    def holds(self, stage: str, label: str, depends: Mapping[str, Any]) -> bool:
        """Return whether `get` with the same arguments would make nothing."""
        return stage not in self.force and _intact(self.root / stage / f"{label}-{self.key(stage, depends)}")

    def find(self, place: str) -> Path:
        """Return a folder that a run's record names, of an artifact that is there and as it was written.

        Raises:
            UserError: it is gone or damaged.
        """
        folder = self.root / place
        wrong = _wrong(folder, self.remember) if folder.exists() else "is gone"
        if wrong:
            raise UserError(f"{folder}: {wrong}: run the same command again, or export the run again")
        return folder

    @staticmethod
    def _make(stage: str, key: str, depends: Mapping[str, Any], make: Callable[[Path], object], folder: Path) -> None:
        """Fill the folder and write its record; the lock is held."""
        sweep_temporary(folder)
        with atomic_folder(folder) as temporary:
            make(temporary)
            made = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            record = {"stage": stage, "key": key, "version": __version__, "made": made}
            seal(temporary, {**record, "depends": dict(depends)})

    @staticmethod
    def key(stage: str, depends: Mapping[str, Any]) -> str:
        """Return the key of the artifact that `get` with the same arguments returns."""
        return content_key({"stage": stage, "depends": depends})


def _taken(path: Path, label: str) -> BaseFileLock:
    try:
        return take(path, _SECONDS_BEFORE_SAYING_SO)
    except Timeout:
        log.info("%s: another run is making it, waiting", label)
        return take(path)


def seal(folder: Path, record: Mapping[str, Any]) -> None:
    """Write an artifact's record, with the checksums of what is in its folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    checksums = {str(path.relative_to(folder)): file_sha256(path) for path in paths}
    write_json(folder / RECORD, {**record, "files": checksums})


def manifest(folder: Path) -> dict[str, Any]:
    """Return what an artifact was made of."""
    record: dict[str, Any] = read_json(folder / RECORD)
    return record


def _intact(folder: Path) -> bool:
    """Return whether an artifact is there and is what was written; a damaged one is reported, to be made again."""
    if not folder.exists():
        return False
    if wrong := _wrong(folder):
        log.warning("%s: %s: it is made again", folder, wrong)
    return not wrong


def _wrong(folder: Path, remember: bool = True) -> str | None:
    """Return what is wrong with an artifact's files, in a few words; None if nothing."""
    try:
        checksums = dict(json.loads((folder / RECORD).read_text(encoding="utf-8"))["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{RECORD} cannot be read ({type(error).__name__})"
    for name, checksum in checksums.items():
        try:
            found = (remembered_sha256 if remember else file_sha256)(folder / name)
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
        if found != checksum:
            return f"{name} has changed since it was written"
    return None
