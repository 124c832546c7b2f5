"""Lists for any number of users, written in parts of a few users each, then joined; memory is bounded by one part."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl
from filelock import BaseFileLock, Timeout

from recsys_lora.recommender.close_ids import close_to
from recsys_lora.recommender.files import CSV
from recsys_lora.recommender.queries import named
from recsys_lora.recommender.recommender import Recommender
from recsys_lora.utils.console import progress
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import atomic_file, content_key, disk_errors, file_sha256, read_json, write_json
from recsys_lora.utils.locks import released, take
from recsys_lora.utils.words import counted

_KEY = "key.json"
_EVERYBODY = slice(None)
_USERS_AT_ONCE = 16
"""Users per call of `recommend`, between two progress updates."""


@dataclass(frozen=True)
class ListOptions:
    """Options of the lists: see `Recommender.recommend`."""

    k: int = 10
    retrieve: int = 100
    exclude_seen: bool = True


@dataclass(frozen=True)
class Written:
    """Summary of a written file.

    Attributes:
        users: number of users with a list.
        rows: number of rows.
        unknown: raw ids that the run does not know.
        close: known ids close to the first of these, for messages; "" if none are.
    """

    users: int
    rows: int
    unknown: Sequence[str]
    close: str

    @property
    def unknown_line(self) -> str:
        """How many users are unknown, with the first few ids."""
        return f"{counted(len(self.unknown), 'user')}: {named(self.unknown)}{self.close}"


def recommend_to_file(
    recommender: Recommender,
    users: Sequence[str] | None,
    out: Path,
    wanted: ListOptions,
    part: int = 1000,
    given: Sequence[Path] = (),
    share: slice = _EVERYBODY,
) -> Written:
    """Write every user's list into one file; an interrupted call resumes from the parts already written.

    Args:
        recommender: the loaded run.
        users: raw ids; None: all users.
        out: a .parquet or .csv file.
        wanted: options of the lists.
        part: users per part.
        given: files whose events and items the recommender has been given.
        share: which of the users.

    Raises:
        UserError: no user is known, another process writes the same file, or the disk is full.
    """
    known = set(recommender.users)
    every = (recommender.users if users is None else list(users))[share]
    asked = [user for user in every if user in known]
    unknown = [user for user in every if user not in known]
    if not every:
        raise UserError(f"{out}: no user is in this share: give fewer shares")
    close = close_to(unknown[0], known) if unknown else ""
    if not asked:
        raise UserError(f"users: the run knows none of them: {named(unknown)}{close}: give ids of its users")
    folder = out.with_name(f".{out.name}.parts")
    with released(_taken(out)):
        _begin(folder, _key(recommender, asked, wanted, part, given))
        rows = _join(list(_parts(recommender, asked, folder, wanted, part)), out)
        shutil.rmtree(folder)
    return Written(len(asked), rows, unknown, close)


def _taken(out: Path) -> BaseFileLock:
    """Return a lock that keeps other processes from writing the same file."""
    try:
        return take(out.with_name(f".{out.name}.lock"), timeout=0)
    except Timeout as error:
        raise UserError(f"{out}: another process writes it: wait for its end, or choose another out") from error


def _parts(
    recommender: Recommender, users: Sequence[str], folder: Path, wanted: ListOptions, size: int
) -> Iterator[Path]:
    """Yield the files of all parts, each written unless it exists."""
    with progress("recommend", len(users), "users") as advance:
        for number, begin in enumerate(range(0, len(users), size)):
            path, own = folder / f"part-{number:08d}.parquet", users[begin : begin + size]
            if path.exists():
                advance(len(own), "kept")
            else:
                tables = []
                for few in (own[at : at + _USERS_AT_ONCE] for at in range(0, len(own), _USERS_AT_ONCE)):
                    tables.append(recommender.recommend(few, **asdict(wanted)))
                    advance(len(few), "")
                with atomic_file(path) as temporary:
                    pl.concat(tables).write_parquet(temporary)
            yield path


def _key(recommender: Recommender, users: Sequence[str], wanted: ListOptions, part: int, given: Sequence[Path]) -> str:
    """Return the key of the parts, from the run, the given files, the users and the options."""
    files = [file_sha256(path) for path in given]
    return content_key([asdict(recommender.run.made), files, list(users), asdict(wanted), part])


def _begin(folder: Path, key: str) -> None:
    """Create the folder of the parts; parts of another command are deleted."""
    if (folder / _KEY).is_file() and read_json(folder / _KEY) == key:
        return
    with disk_errors(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    write_json(folder / _KEY, key)


def _join(parts: Sequence[Path], out: Path) -> int:
    every = pl.scan_parquet(list(parts))
    with atomic_file(out) as temporary:
        if out.suffix == CSV:
            every.sink_csv(temporary)
        else:
            every.sink_parquet(temporary)
    return int(every.select(pl.len()).collect().item())
