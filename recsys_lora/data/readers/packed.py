"""Packed files: detection of the packing, and streams that refuse bombs and report damage in one line."""

import bz2
import errno
import gzip
import io
import lzma
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, cast

from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import blows_up

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Packing = Literal["none", "gzip", "zip", "bz2", "xz", "zst"]
MAGIC: dict[bytes, Packing] = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zst",
}
SAMPLE = 1 << 16
LONGEST_LINE = 16 << 20
"""The most bytes of a line, and of a field."""
DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, zipfile.BadZipFile, zstd.ZstdError)


class _Guarded(io.RawIOBase):
    """A stream that raises if it is a bomb: packed far tighter than real data, or one endless line.

    Attributes:
        fileobj: the packed file itself, which knows how far it has been read.
    """

    def __init__(self, stream: IO[bytes], path: Path, by_line: bool) -> None:
        super().__init__()
        self.fileobj = getattr(stream, "fileobj", stream)
        self._stream, self._path, self._packed = stream, path, path.stat().st_size
        self._by_line, self._unpacked, self._line = by_line, 0, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes.

        Raises:
            UserError: it is a bomb.
        """
        view = memoryview(buffer).cast("B")
        block = self._stream.read(len(view))
        view[: len(block)] = block
        self._unpacked += len(block)
        end = max(block.rfind(b"\n"), block.rfind(b"\r"))
        self._line = self._line + len(block) if end < 0 else len(block) - end - 1
        if self._by_line and self._line > LONGEST_LINE:
            raise UserError(f"{self._path}: a line of more than {LONGEST_LINE >> 20} MiB: this is no table")
        if blows_up(self._unpacked, self._packed):
            raise UserError(
                f"{self._path}: {self._packed / 1e6:.1f} MB are unpacked to more than {self._unpacked / 1e6:.0f} MB, "
                "which no real data are: if they are yours, unpack them first"
            )
        return len(block)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn errors while a file is unpacked into one line.

    Raises:
        UserError: it is cut off or damaged, or cannot be opened.
    """
    try:
        yield
    except DAMAGE as error:
        raise _damaged(path, error) from error
    except (PermissionError, IsADirectoryError) as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror}): change its permissions") from error
    except (NotImplementedError, RuntimeError) as error:  # from zipfile: packed in another way, or encrypted after all
        raise _damaged(path, error) from error
    except OSError as error:
        if error.errno not in (None, errno.EINVAL, errno.EIO):
            raise
        raise _damaged(path, error) from error  # from bz2 and zipfile, for damaged files


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: the packed file is damaged or cut off ({error}): download it again")


def packing_of(path: Path) -> Packing:
    """Return what a file is packed with, by its first bytes."""
    with path.open("rb") as file:
        begin = file.read(6)
    return next((packing for magic, packing in MAGIC.items() if begin.startswith(magic)), "none")


@contextmanager
def opened(path: Path, packing: Packing, by_line: bool = False) -> Iterator[IO[bytes]]:
    """Open a file and yield a stream of its unpacked bytes.

    Args:
        path: the file.
        packing: what it is packed with.
        by_line: also refuse a line of more than `LONGEST_LINE` bytes.

    Raises:
        UserError: it is a bomb, or a zip archive that does not hold exactly one file.
    """
    if packing == "zip":
        with zipfile.ZipFile(path) as archive, archive.open(_member(path, archive)) as member:
            yield cast(IO[bytes], io.BufferedReader(_Guarded(member, path, by_line), 1 << 20))
        return
    openers: dict[str, Any] = {"none": open, "gzip": gzip.open, "bz2": bz2.open, "xz": lzma.open, "zst": zstd.open}
    with cast(IO[bytes], openers[packing](path, "rb")) as unpacked:
        yield cast(IO[bytes], io.BufferedReader(_Guarded(unpacked, path, by_line), 1 << 20))


def _member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    if any(member.filename.startswith("xl/") for member in archive.infolist()):
        raise UserError(f"{path}: an Excel file: write it as Parquet, CSV or JSON lines")
    members = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX")]
    if len(members) != 1:
        listed = ", ".join(m.filename for m in members[:5])
        raise UserError(f"{path}: a zip archive of {len(members)} files ({listed}): unpack it and name one")
    if members[0].flag_bits & 1:
        raise UserError(f"{path}: an encrypted zip archive: unpack it first")
    return members[0]


def head(path: Path, packing: Packing) -> bytes:
    """Return the first unpacked bytes of a file."""
    with opened(path, packing) as stream:
        return stream.read(SAMPLE)


def refuse_nested(path: Path, sample: bytes) -> None:
    """Refuse an archive within a packed file.

    Raises:
        UserError: the sample is the beginning of one.
    """
    if sample[257:262] == b"ustar":
        raise UserError(f"{path}: a tar archive: unpack it first and name the file in it")
    inner = next((packing for magic, packing in MAGIC.items() if sample.startswith(magic)), None)
    if inner and packing_of(path) != "none":
        raise UserError(f"{path}: packed twice ({inner} inside): unpack it first")
