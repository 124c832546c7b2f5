"""Raw files as they come: packed or not, in one file or in parts, in an encoding somebody chose.

What a file is, its first bytes tell, whatever it is called. DuckDB reads UTF-8 and Parquet, plain or gzipped, as they
lie; everything else is unpacked or rewritten into the engine's scratch folder first, as a stream.
"""

import bz2
import codecs
import errno
import gzip
import io
import lzma
import shutil
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

from recsys_lora.data.engine import Engine
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import MOST_UNPACKED, blows_up

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
PARQUET = b"PAR1"
OTHERS = {
    b"ARROW1": "an Arrow (Feather) file",
    b"SQLite format 3": "a SQLite database",
    b"\x89HDF": "an HDF5 file",
    b"Obj\x01": "an Avro file",
    b"ORC": "an ORC file",
    b"\xd0\xcf\x11\xe0": "an Excel file",
    b"\x80\x03": "a Python pickle",
    b"\x80\x04": "a Python pickle",
    b"\x80\x05": "a Python pickle",
}
"""First bytes of tables that are not read."""
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
SAMPLE = 1 << 16
LONGEST_LINE = 16 << 20
"""Bytes of a line, and of a field."""
DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, zipfile.BadZipFile, zstd.ZstdError)


@dataclass(frozen=True)
class Part:
    """One file that DuckDB can read.

    Attributes:
        origin: the person's file, for messages.
        path: the same, or its unpacked or rewritten copy.
        gzipped: how the latter is packed.
        parquet: Parquet, else text in UTF-8.
        sample: its first bytes, unpacked.
    """

    origin: Path
    path: Path
    gzipped: bool
    parquet: bool
    sample: bytes

    @property
    def compression(self) -> str:
        """DuckDB's word for the packing."""
        return "gzip" if self.gzipped else "none"

    @contextmanager
    def lines(self) -> Iterator[IO[bytes]]:
        """Open the text to be read again, line by line, when something is wrong with it.

        Raises:
            UserError: the file is cut off or damaged.
        """
        with readable(self.origin), _opened(self.path, "gzip" if self.gzipped else "none", by_line=True) as stream:
            yield stream


class _Guarded(io.RawIOBase):
    """A stream that ends with a line where it is a bomb: packed far tighter than data are, or one endless line.

    Attributes:
        fileobj: the packed file itself, which tells how far it has been read.
    """

    def __init__(self, stream: IO[bytes], path: Path, by_line: bool) -> None:
        super().__init__()
        self.fileobj = getattr(stream, "fileobj", stream)
        self._stream, self._path, self._packed = stream, path, path.stat().st_size
        self._by_line, self._unpacked, self._line = by_line, 0, 0

    def readable(self) -> bool:
        """Say yes."""
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


def files_of(path: Path, knob: str) -> list[Path]:
    """Return a file, or the files of a folder of parts in the order of their names.

    Raises:
        UserError: there is no such file, or the folder holds none.
    """
    try:
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith(("_", ".")))
            if not found:
                raise UserError(f"{path.absolute()}: a folder without files: correct {knob}")
            return found
        if path.is_file():
            return [path]
    except OSError as error:  # a link that leads to itself
        raise UserError(f"{path.absolute()}: {error.strerror}: correct {knob}") from error
    raise UserError(f"{path.absolute()}: no such file: correct {knob}")


def open_part(path: Path, engine: Engine, encoding: str | None, knob: str) -> Part:
    """Make a file readable for DuckDB.

    Args:
        path: the file.
        engine: whose scratch folder takes what has to be rewritten.
        encoding: of text; None is UTF-8, or what a byte order mark says.
        knob: the config key that sets the encoding, for messages; "" where there is none.

    Raises:
        UserError: the file is empty, damaged, packed in a way that cannot be read, or not in the encoding.
    """
    with readable(path):
        packing = _packing(path)
        sample = _head(path, packing)
        if not sample.strip(b" \r\n\t\x00"):
            raise UserError(f"{path}: the file is empty: download it again or name another")
        _refuse_nested(path, sample)
        if other := next((kind for magic, kind in OTHERS.items() if sample.startswith(magic)), None):
            raise UserError(f"{path}: {other}: write it as Parquet, CSV or JSON lines")
        parquet = sample.startswith(PARQUET)
        if not parquet and path.suffix.lower() == ".parquet":
            raise UserError(f"{path}: not a readable Parquet file (it does not begin with PAR1): name another")
        if packing == "none" or (packing == "gzip" and not parquet):
            part = Part(path, path, packing == "gzip", parquet, sample)
        else:
            part = Part(path, _copy(path, packing, engine), False, parquet, sample)
    if parquet:
        return part
    _refuse_endless(part)
    return _text(part, engine, encoding, knob)


def _refuse_endless(part: Part) -> None:
    """Refuse a text whose last line is too long: DuckDB leaves such a line out and says nothing.

    Raises:
        UserError: it is.
    """
    if part.sample.lstrip().startswith(b"["):  # a JSON array, which may be one line
        return
    size = part.path.stat().st_size
    with readable(part.origin), part.path.open("rb") as file:
        if part.gzipped:
            file.seek(-4, io.SEEK_END)
            unpacked = int.from_bytes(file.read(4), "little")
        else:
            file.seek(max(0, size - LONGEST_LINE))
            end = file.read()
    if part.gzipped:
        if unpacked > max(LONGEST_LINE, MOST_UNPACKED * size):  # packed as tight as one character again and again
            with part.lines() as stream:
                while stream.read(1 << 20):
                    pass
    elif size > LONGEST_LINE and b"\n" not in end and b"\r" not in end:
        raise UserError(f"{part.origin}: its last line has more than {LONGEST_LINE >> 20} MiB: this is no table")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a file while it is unpacked into one line.

    Raises:
        UserError: it is cut off, damaged, or may not be read.
    """
    try:
        yield
    except DAMAGE as error:
        raise _damaged(path, error) from error
    except (PermissionError, IsADirectoryError) as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror}): change its permissions") from error
    except (NotImplementedError, RuntimeError) as error:  # zipfile's: packed in another way, or encrypted after all
        raise _damaged(path, error) from error
    except OSError as error:
        if error.errno not in (None, errno.EINVAL, errno.EIO):
            raise
        raise _damaged(path, error) from error  # bz2 and zipfile say so of damage


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: the packed file is damaged or cut off ({error}): download it again")


def scratch_file(engine: Engine, origin: Path) -> Path:
    """Return a new name in the scratch folder."""
    return engine.scratch / f"{len(list(engine.scratch.iterdir()))}-{origin.name}"


def check_encoding(part: Part, encoding: str, knob: str) -> None:
    """Look for the first line that is not in an encoding.

    Raises:
        UserError: names it.
    """
    with part.lines() as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError as error:
                found = line[error.start : error.start + 1].hex()
                other = "latin-1" if encoding.replace("-", "").startswith("utf8") else "utf-8"
                advice = f"say the file's encoding, such as {knob}={other}" if knob else "download the file again"
                raise UserError(f"{part.origin}, line {number}: byte 0x{found} is not {encoding}: {advice}") from error


def _packing(path: Path) -> Packing:
    with path.open("rb") as file:
        begin = file.read(6)
    return next((packing for magic, packing in MAGIC.items() if begin.startswith(magic)), "none")


@contextmanager
def _opened(path: Path, packing: Packing, by_line: bool = False) -> Iterator[IO[bytes]]:
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


def _head(path: Path, packing: Packing) -> bytes:
    with _opened(path, packing) as stream:
        return stream.read(SAMPLE)


def _refuse_nested(path: Path, sample: bytes) -> None:
    if sample[257:262] == b"ustar":
        raise UserError(f"{path}: a tar archive: unpack it first and name the file in it")
    inner = next((packing for magic, packing in MAGIC.items() if sample.startswith(magic)), None)
    if inner and _packing(path) != "none":
        raise UserError(f"{path}: packed twice ({inner} inside): unpack it first")


def _copy(path: Path, packing: Packing, engine: Engine) -> Path:
    target = scratch_file(engine, path)
    with _opened(path, packing) as stream, target.open("wb") as out:
        shutil.copyfileobj(stream, out, 1 << 20)
    return target


def _text(part: Part, engine: Engine, encoding: str | None, knob: str) -> Part:
    """Rewrite a text that is not in UTF-8, or whose lines end in CR alone."""
    marked = next((name for mark, name in BYTE_ORDER_MARKS.items() if part.sample.startswith(mark)), None)
    source = encoding or marked or "utf-8"
    try:
        kind = codecs.lookup(source)
        if not kind._is_text_encoding:
            raise LookupError
    except LookupError as error:
        raise UserError(f"{knob}={source}: no such encoding: try utf-8, latin-1 or cp1252") from error
    if kind.name == "utf-8" and marked == "utf-8-sig":
        source = marked
    carriage = b"\r" in part.sample and b"\n" not in part.sample
    if kind.name == "utf-8" and source != "utf-8-sig" and not carriage:
        return part
    target = scratch_file(engine, part.origin)
    try:
        with readable(part.origin), part.lines() as stream, target.open("w", encoding="utf-8", newline="\n") as out:
            shutil.copyfileobj(io.TextIOWrapper(stream, encoding=source), out, 1 << 20)
    except UnicodeError as error:
        if not source.startswith(("utf-16", "utf-32")):
            check_encoding(part, source, knob)
        raise UserError(f"{part.origin}: not {source} ({error}): say the file's encoding, {knob}=NAME") from error
    with target.open("rb") as file:
        return Part(part.origin, target, False, False, file.read(SAMPLE))
