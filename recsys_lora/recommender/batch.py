"""Lists for any number of users: parts of a few users each are kept, then joined; memory is that of one part."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl
from filelock import FileLock, Timeout

from recsys_lora.console import progress
from recsys_lora.errors import UserError
from recsys_lora.files import atomic_file, content_key, disk_errors, file_sha256, read_json, write_json
from recsys_lora.recommender.asked import named
from recsys_lora.recommender.files import CSV
from recsys_lora.recommender.recommender import Recommender

log = logging.getLogger(__name__)
KEY = "key.json"
USERS_AT_ONCE = 16
"""Users whose lists are made by one call, between two signs of progress."""


@dataclass(frozen=True)
class Lists:
    """What lists are wanted: see `Recommender.recommend`."""

    k: int = 10
    retrieve: int = 100
    exclude_seen: bool = True


@dataclass(frozen=True)
class Done:
    """What was written.

    Attributes:
        users: how many have a list.
        rows: of the file.
        unknown: raw ids that the run does not know.
    """

    users: int
    rows: int
    unknown: Sequence[str]

    @property
    def unknown_line(self) -> str:
        """How many are unknown, and who the first of them are."""
        return f"{len(self.unknown):,} users: {named(self.unknown)}"


def recommend_to_file(
    recommender: Recommender,
    users: Sequence[str] | None,
    out: Path,
    wanted: Lists,
    part: int = 1000,
    given: Sequence[Path] = (),
) -> Done:
    """Write every user's list into one file; a call that was ended goes on from the parts that are there.

    Args:
        recommender: what recommends.
        users: raw ids; None: all users.
        out: a .parquet or .csv file.
        wanted: which lists.
        part: users of a part.
        given: files whose events and items the recommender has taken in.

    Raises:
        UserError: no user is known, another process writes the same file, or the disk is full.
    """
    known = set(recommender.users)
    every = recommender.users if users is None else list(users)
    asked = [user for user in every if user in known]
    unknown = [user for user in every if user not in known]
    if not asked:
        raise UserError(f"users: the run knows none of them: {named(unknown)}: give ids of its users")
    folder = out.with_name(f".{out.name}.parts")
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out.with_name(f".{out.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(f"{out}: another process writes it: wait for its end, or choose another out") from error
    try:
        _begin(folder, _key(recommender, asked, wanted, part, given))
        parts = [folder / f"part-{begin // part:08d}.parquet" for begin in range(0, len(asked), part)]
        kept = sum(path.exists() for path in parts)
        if kept:
            log.info("%s: goes on, %d of %d parts are there", out, kept, len(parts))
        with progress("recommend", len(asked), "users") as advance:
            for number, path in enumerate(parts):
                own = asked[number * part : (number + 1) * part]
                if path.exists():
                    advance(len(own), "")
                    continue
                tables = []
                for begin in range(0, len(own), USERS_AT_ONCE):
                    few = own[begin : begin + USERS_AT_ONCE]
                    tables.append(recommender.recommend(few, **asdict(wanted)))
                    advance(len(few), "")
                with atomic_file(path) as temporary:
                    pl.concat(tables).write_parquet(temporary)
        rows = _join(parts, out)
        shutil.rmtree(folder)
    finally:
        lock.release()
    return Done(len(asked), rows, unknown)


def _key(recommender: Recommender, users: Sequence[str], wanted: Lists, part: int, given: Sequence[Path]) -> str:
    """Return what names the parts: the run, what it has taken in, the users and what is wanted."""
    files = [file_sha256(path) for path in given]
    return content_key([asdict(recommender.run.made), files, list(users), asdict(wanted), part])


def _begin(folder: Path, key: str) -> None:
    """Make the folder of the parts; parts of another command are thrown away."""
    if (folder / KEY).is_file() and read_json(folder / KEY) == key:
        return
    with disk_errors(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    write_json(folder / KEY, key)


def _join(parts: Sequence[Path], out: Path) -> int:
    """Write the parts one below the other; returns the number of rows."""
    every = pl.scan_parquet(list(parts))
    with atomic_file(out) as temporary:
        if out.suffix == CSV:
            every.sink_csv(temporary)
        else:
            every.sink_parquet(temporary)
    return int(every.select(pl.len()).collect().item())
