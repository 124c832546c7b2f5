"""Stage results, cached under a key of everything they depend on.

If two runs need the same artifact at the same time, one makes it and the other waits. An artifact is a folder that is
written atomically. Its `artifact.json` records what it was made from and the checksums of its files; a damaged artifact
is made again. Sizes and times are compared at every use, contents once per machine.
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
        folder: its folder.
        key: 16 hex digits, a hash of its stage and its inputs.
        reused: True if it was in the cache, False if this run made it.
    """

    folder: Path
    key: str
    reused: bool


@dataclass(frozen=True)
class ArtifactStore:
    """The cache of stage results.

    Attributes:
        root: the folder of all artifacts.
        force: stages whose artifacts are made again even if they exist.
        processes: the processes of the job.
        remember: record in the cache which contents were compared, so that this is done once per machine.
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
        """Return the artifact for `depends`, made by `make` if it does not exist.

        Args:
            stage: prepare, cf, method or test, as in `stage.force`.
            label: a readable prefix of the folder's name.
            depends: everything the result depends on, upstream keys included; JSON-serialisable.
            make: fills an empty folder with the result; if it raises, nothing is left behind.
            together: all processes of the job make it, as in training, and only what rank 0 writes is kept.
                Otherwise rank 0 makes it while the others wait.

        Raises:
            UserError: the disk is full or not writable.
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
        # A complete artifact is used without the lock, which cannot be taken in a read-only cache.
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
        """Return whether `get` with the same arguments would reuse an artifact."""
        return stage not in self.force and _intact(self.root / stage / f"{label}-{self.key(stage, depends)}")

    def find(self, place: str) -> Path:
        """Return the folder of an artifact that a run's record names, after checking that it is intact.

        Raises:
            UserError: it is missing or damaged.
        """
        folder = self.root / place
        wrong = _wrong(folder, self.remember) if folder.exists() else "is gone"
        if wrong:
            raise UserError(f"{folder}: {wrong}: run the same command again, or export the run again")
        return folder

    @staticmethod
    def _make(stage: str, key: str, depends: Mapping[str, Any], make: Callable[[Path], object], folder: Path) -> None:
        """Fill the folder and write its record; the caller holds the lock."""
        sweep_temporary(folder)
        with atomic_folder(folder) as temporary:
            make(temporary)
            made = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            record = {"stage": stage, "key": key, "version": __version__, "made": made}
            seal(temporary, {**record, "depends": dict(depends)})

    @staticmethod
    def key(stage: str, depends: Mapping[str, Any]) -> str:
        """Return the key of the artifact that `get` returns for the same arguments."""
        return content_key({"stage": stage, "depends": depends})


def _taken(path: Path, label: str) -> BaseFileLock:
    try:
        return take(path, _SECONDS_BEFORE_SAYING_SO)
    except Timeout:
        log.info("%s: another run is making it, waiting", label)
        return take(path)


def seal(folder: Path, record: Mapping[str, Any]) -> None:
    """Write an artifact's record, with the checksums of the files in its folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    checksums = {str(path.relative_to(folder)): file_sha256(path) for path in paths}
    write_json(folder / RECORD, {**record, "files": checksums})


def manifest(folder: Path) -> dict[str, Any]:
    """Return the record of what an artifact was made from."""
    record: dict[str, Any] = read_json(folder / RECORD)
    return record


def _intact(folder: Path) -> bool:
    """Return whether an artifact exists and is intact; log a warning if it is damaged."""
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
