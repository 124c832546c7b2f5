"""Raw files: packed or not, in one file or in parts, in any encoding.

The kind of a file is detected from its first bytes, whatever its name. DuckDB reads UTF-8 and Parquet, plain or
gzipped, in place; everything else is first unpacked or rewritten into the engine's scratch folder, as a stream.
"""

import codecs
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from recsys_lora.data.engine import Engine
from recsys_lora.data.readers.packed import (
    LONGEST_LINE,
    SAMPLE,
    Packing,
    head,
    opened,
    packing_of,
    readable,
    refuse_nested,
)
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import MOST_UNPACKED

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
"""First bytes of tables that are not supported."""
WEB_PAGE = (b"<!doctype html", b"<html")
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class Part:
    """One file that DuckDB can read.

    Attributes:
        origin: the user's file, for messages.
        path: the same, or its unpacked or rewritten copy.
        gzipped: whether the latter is gzipped.
        parquet: True for Parquet, False for text in UTF-8.
        sample: its first bytes, unpacked.
    """

    origin: Path
    path: Path
    gzipped: bool
    parquet: bool
    sample: bytes

    @property
    def compression(self) -> str:
        """DuckDB's name for the packing."""
        return "gzip" if self.gzipped else "none"

    @contextmanager
    def lines(self) -> Iterator[IO[bytes]]:
        """Open the text to read it again, line by line, when something is wrong with it.

        Raises:
            UserError: the file is cut off or damaged.
        """
        with readable(self.origin), opened(self.path, "gzip" if self.gzipped else "none", by_line=True) as stream:
            yield stream


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
        engine: its scratch folder takes rewritten files.
        encoding: of text; None is UTF-8, or what a byte order mark says.
        knob: the config key that sets the encoding, for messages; "" if there is none.

    Raises:
        UserError: the file is empty, damaged, packed in a way that cannot be read, or not in the encoding.
    """
    with readable(path):
        packing = packing_of(path)
        sample = head(path, packing)
        if not sample.strip(b" \r\n\t\x00"):
            raise UserError(f"{path}: the file is empty: download it again or name another")
        refuse_nested(path, sample)
        if other := next((kind for magic, kind in OTHERS.items() if sample.startswith(magic)), None):
            raise UserError(f"{path}: {other}: write it as Parquet, CSV or JSON lines")
        if sample.lstrip(b"\xef\xbb\xbf \r\n\t").lower().startswith(WEB_PAGE):
            raise UserError(f"{path}: a web page, not a table: download the file itself")
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
    """Refuse a text whose last line is too long: DuckDB drops such a line silently."""
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
        if unpacked > max(LONGEST_LINE, MOST_UNPACKED * size):  # packed as tightly as one repeated character
            with part.lines() as stream:
                while stream.read(1 << 20):
                    pass
    elif size > LONGEST_LINE and b"\n" not in end and b"\r" not in end:
        raise UserError(f"{part.origin}: its last line has more than {LONGEST_LINE >> 20} MiB: this is no table")


def scratch_file(engine: Engine, origin: Path) -> Path:
    """Return a new name in the scratch folder."""
    return engine.scratch / f"{len(list(engine.scratch.iterdir()))}-{origin.name}"


def check_encoding(part: Part, encoding: str, knob: str) -> None:
    """Look for the first line that is not in an encoding.

    Raises:
        UserError: there is one; names it.
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


def _copy(path: Path, packing: Packing, engine: Engine) -> Path:
    target = scratch_file(engine, path)
    with opened(path, packing) as stream, target.open("wb") as out:
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
