"""`recsys-lora recommend run=RUN out=FILE`: write lists for any number of users of a finished run to a file."""

import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from recsys_lora.cli.settings import RunSettings, answer
from recsys_lora.utils.errors import UserError, at
from recsys_lora.utils.libraries import load_libraries
from recsys_lora.utils.types import PositiveInt


class Settings(RunSettings):
    """Write recommendations for the users of a run to a file; the same command continues a stopped one."""

    out: Path = Field(description="file to write, .parquet or .csv")
    users: str = Field("all", description="all, or a file: text with one id per line, or a table with a column user")
    k: PositiveInt = Field(10, description="recommendations per user")
    retrieve: PositiveInt = Field(100, description="items per user that the CF model retrieves and the method ranks")
    exclude_seen: bool = Field(True, description="leave out items of the user's history")
    events: Path | None = Field(
        None, description="table of new events: columns user, item, rating and timestamp, or those of data.columns"
    )
    items: Path | None = Field(None, description="table of new items: columns item and title")
    shard: str = Field(
        "1/1", description="I/N: only the I-th of N equal shares of the users, to use several processes or devices"
    )
    part: PositiveInt = Field(1000, description="users after which progress is saved")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    answer("recommend", Settings, _do, arguments)


def read_shard(text: str) -> slice:
    """Return the users of shard I/N: every N-th, from the I-th on.

    Raises:
        UserError: the text is not I/N with I from 1 to N.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    number, of = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= of:
        raise UserError(f"shard={text}: give I/N with I from 1 to N, as shard=1/4")
    return slice(number - 1, None, of)


def _do(settings: Settings) -> None:
    """Load, recommend and write; heavy imports happen here, after the command line has been parsed."""
    load_libraries()
    from recsys_lora.recommender import files
    from recsys_lora.recommender.batch import ListOptions, recommend_to_file
    from recsys_lora.recommender.layout import Layout
    from recsys_lora.utils.console import say
    from recsys_lora.utils.words import counted

    listed = None if settings.users == "all" else files.read_users(Path(settings.users))
    later = {path: files.read_table(path) for path in (settings.items, settings.events) if path is not None}
    files.check_target(settings.out)
    share = read_shard(settings.shard)
    recommender = settings.load()
    layout = Layout.of_events(recommender.run.config.data.reader)
    users = None if listed is None else files.ids_of(listed, layout, Path(settings.users))
    takes = {settings.items: ("item", recommender.add_items), settings.events: ("event", recommender.update)}
    for path, table in later.items():
        what, take = takes[path]
        with at(str(path)):
            say(f"{path}: {counted(take(table), what)} taken in")
    wanted = ListOptions(settings.k, settings.retrieve, settings.exclude_seen)
    done = recommend_to_file(recommender, users, settings.out, wanted, settings.part, list(later), share)
    say(f"{settings.out}: {counted(done.rows, 'row')} for {counted(done.users, 'user')}")
    if done.unknown:
        say(f"left out, as the run does not know them: {done.unknown_line}")
