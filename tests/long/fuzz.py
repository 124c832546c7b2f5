"""Fuzzed inputs of every kind that a person or a stranger hands over: each is taken, or refused in one line."""

import bz2
import gzip
import io
import json
import lzma
import random
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import torch

from recsys_lora.cli.status import FINISHED, Status, read_status, write_status
from recsys_lora.config.edge import recorded_run
from recsys_lora.config.recorded import read_recorded, write_recorded
from recsys_lora.config.trust import check_targets
from recsys_lora.data.engine import Engine
from recsys_lora.data.prepare import prepare
from recsys_lora.data.readers.amazon import AmazonReviews
from recsys_lora.data.readers.source import open_part
from recsys_lora.data.readers.table import Tables
from recsys_lora.data.split import UserTime
from recsys_lora.methods.checkpoint import IDENTITY, open_checkpoint
from recsys_lora.prompts.template import Example, Template
from recsys_lora.report.comparison import compare
from recsys_lora.utils.errors import UserError
from tests.jobs import SMALL, own_tables, resolved
from tests.long.counts import Counts
from tests.long.mutate import ODD, damaged
from tests.report.runs import run_folder, task_of

Try = Callable[[random.Random], None]


def run(place: Path, share: float, seed: int, counts: Counts) -> None:
    """Try every kind as often as it is cheap: 100,000 tries in all for a share of 1."""
    kinds: dict[str, tuple[int, Try]] = {
        "CSV tables": (6000, tables(place / "csv", "csv")),
        "Parquet tables": (3000, tables(place / "parquet", "parquet")),
        "JSON lines": (3000, tables(place / "json", "json")),
        "archives": (8000, archives(place / "archives")),
        "templates": (30000, template),
        "recorded configs": (12000, configs(place / "configs")),
        "checkpoints": (12000, checkpoints(place / "checkpoints")),
        "status files": (16000, statuses(place / "statuses")),
        "records of runs": (10000, records(place / "records")),
    }
    for kind, (most, attempt) in kinds.items():
        random_ = random.Random(f"{seed} {kind}")
        for number in range(max(1, round(most * share))):
            try:
                attempt(random_)
                counts.add(kind, "taken")
            except UserError as error:
                if len(str(error).splitlines()) == 1:
                    counts.add(kind, "refused in one line")
                else:
                    counts.broke(kind, f"try {number}: more than a line: {error}")
            except Exception as error:
                counts.broke(kind, f"try {number}: {type(error).__name__}: {str(error)[:200]}")


def tables(place: Path, form: str) -> Try:
    """Return what prepares a damaged table."""
    place.mkdir()
    rows, _ = own_tables(users=4, items=12)
    good = {"csv": rows.write_csv().encode(), "json": json_lines(rows), "parquet": parquet(rows)}[form]

    def attempt(random_: random.Random) -> None:
        path = place / f"ratings.{form}"
        path.write_bytes(damaged(good, random_))
        reader = AmazonReviews(reviews=str(path)) if form == "json" else Tables(interactions=str(path))
        with tempfile.TemporaryDirectory(dir=place) as out:
            prepare(reader, UserTime(0.6, 0.2), name="x", positive=4.0, out=Path(out) / "out")

    return attempt


def json_lines(rows: pl.DataFrame) -> bytes:
    """Return interactions as reviews, one a line."""
    names = {"user_id": "reviewerID", "item_id": "asin", "rating": "overall", "timestamp": "unixReviewTime"}
    return "\n".join(json.dumps(row) for row in rows.rename(names).to_dicts()).encode()


def parquet(rows: pl.DataFrame) -> bytes:
    """Return interactions as Parquet."""
    memory = io.BytesIO()
    rows.write_parquet(memory)
    return memory.getvalue()


def archives(place: Path) -> Try:
    """Return what opens and reads a damaged archive of a table."""
    place.mkdir()
    rows = own_tables(users=8)[0].write_csv().encode()
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ratings.csv", rows)
    good = [gzip.compress(rows), bz2.compress(rows), lzma.compress(rows), zipped.getvalue()]

    def attempt(random_: random.Random) -> None:
        path = place / "ratings.csv"
        path.write_bytes(damaged(random_.choice(good), random_))
        with tempfile.TemporaryDirectory(dir=place) as scratch:
            part = open_part(path, Engine(Path(scratch)), None, "data.reader.encoding")
            with part.lines() as lines:
                for _ in lines:
                    pass

    return attempt


def template(random_: random.Random) -> None:
    """Make a template of random pieces and render it."""
    words = [
        b"{title}",
        b"{history}",
        b"{item}",
        b"<user>",
        b"{{",
        b"}}",
        b"{",
        b"}",
        b"{0}",
        b"{title!r}",
        b"{title:>9}",
        *ODD,
    ]
    text, empty, item = (
        b" ".join(random_.choices(words, k=random_.randint(0, 6))).decode("utf-8", "replace") for _ in range(3)
    )
    made = Template(text=text, no_history=empty, item=item, soft_tokens=["user"])
    titles = [random_.choice(ODD).decode("utf-8", "replace") for _ in range(3)]
    shown = {"title": titles[2], "item": "thing", "items": "things"}
    made.render(Example([{**shown, "title": title} for title in titles], shown), shown)
    made.render(Example(texts=shown), shown, mark_title=True)


def configs(place: Path) -> Try:
    """Return what reads and checks the damaged config of a stranger's run."""
    place.mkdir()
    write_recorded(place / "config.yaml", resolved(*SMALL))
    good = (place / "config.yaml").read_bytes()

    def attempt(random_: random.Random) -> None:
        (place / "config.yaml").write_bytes(damaged(good, random_))
        config = read_recorded(place / "config.yaml")
        check_targets(config)
        recorded_run(config)

    return attempt


def checkpoints(place: Path) -> Try:
    """Return what opens a damaged checkpoint."""
    place.mkdir()
    torch.save({"state_dict": {"a": torch.randn(40), "b": torch.ones(3)}, IDENTITY: {"data": "x"}}, place / "good.ckpt")
    good = (place / "good.ckpt").read_bytes()

    def attempt(random_: random.Random) -> None:
        (place / "own.ckpt").write_bytes(damaged(good, random_))
        open_checkpoint(place / "own.ckpt")

    return attempt


def statuses(place: Path) -> Try:
    """Return what reads a damaged status.json, which is passed over with a warning."""
    place.mkdir()
    write_status(place, Status(FINISHED, ["seed=1", "model=cora"], None, "0123456789abcdef"))
    good = (place / "status.json").read_bytes()

    def attempt(random_: random.Random) -> None:
        (place / "status.json").write_bytes(damaged(good, random_))
        read_status(place)

    return attempt


def records(place: Path) -> Try:
    """Return what compares a run of which one file is damaged."""
    folder = run_folder(place / "run")
    names = ["metrics.json", "environment.json", "config.yaml", ".hydra/overrides.yaml", "predictions_ctr.parquet"]
    good = {name: (folder / name).read_bytes() for name in names}

    def attempt(random_: random.Random) -> None:
        name = random_.choice(names)
        (folder / name).write_bytes(damaged(good[name], random_))
        try:
            compare([folder], "a command", task_of)
        finally:
            (folder / name).write_bytes(good[name])

    return attempt
