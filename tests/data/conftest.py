"""Raw tables made up for tests, and the real files where a person has them."""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from recsys_lora.data.engine import Engine
from recsys_lora.data.engine import engine as open_engine
from recsys_lora.data.numbering import final_rows, number_final, number_raw
from recsys_lora.data.schema import RawTables, RowTables


@pytest.fixture(autouse=True)
def own_cache(home):
    """Keep fetched files and remembered checksums out of the person's cache."""


@pytest.fixture(scope="session")
def raw_data() -> Path:
    """The folder of real raw files; tests that need them are skipped where it is not named."""
    named = os.environ.get("RECSYS_LORA_TEST_DATA")
    if not named:
        pytest.skip("RECSYS_LORA_TEST_DATA names no folder of raw files")
    return Path(named)


Row = tuple[str, str, float, int]


@pytest.fixture
def engine(tmp_path):
    """A database of its own."""
    with open_engine(tmp_path / "engine") as opened:
        yield opened


def fill(engine: Engine, rows: list[Row], titles: dict[str, str | None] | None = None) -> RawTables:
    """Make the reader's tables of rows (user, item, rating, timestamp)."""
    users, items, ratings, times = zip(*rows, strict=True) if rows else ((), (), (), ())
    columns = {"line": ("BIGINT", range(len(rows))), "user_id": ("VARCHAR", users), "item_id": ("VARCHAR", items)}
    engine.fill("interactions", columns | {"rating": ("FLOAT", ratings), "timestamp": ("BIGINT", times)})
    titles = titles if titles is not None else {item: f"Title {item}" for item in items}
    columns = {"line": ("BIGINT", range(len(titles))), "item_id": ("VARCHAR", list(titles))}
    engine.fill("items", columns | {"title": ("VARCHAR", list(titles.values()))})
    return RawTables()


@dataclass(frozen=True)
class Splitted:
    """What a split makes of rows: (user_id, item_id, timestamp, split) in order, raw ids by number, rows dropped."""

    rows: list[tuple[str, str, int, str]]
    users: list[str]
    items: list[str]
    dropped: list[int]


def splitted(engine: Engine, rows: list[Row], split, titles=None, timed: bool = True) -> Splitted:
    """Number, split and number again, as `prepare` does."""
    tables = fill(engine, rows, titles)
    number_raw(engine, tables)
    arranged = split.arrange(RowTables(engine, timed=timed))
    number_final(engine, arranged, tables, False)
    final_rows(engine, arranged, 4.0)
    found = engine.rows(
        "SELECT user_id, item_id, timestamp, split FROM final JOIN final_users USING (user) "
        "JOIN final_items USING (item) ORDER BY place"
    )
    ids = [[row[0] for row in engine.rows(f"SELECT {c}_id FROM final_{c}s ORDER BY {c}")] for c in ("user", "item")]
    return Splitted(found, *ids, [drop.rows for drop in arranged.dropped])


def tie(line: int, seed: int = 0) -> tuple[int, int]:
    """The place of a row among those of its time, in the seeded random order."""
    return int.from_bytes(hashlib.md5(f"{seed}:{line}".encode()).digest()[8:], "little"), line


def random_rows(seed: int, rows: int = 300, users: int = 12, items: int = 30, days: int = 40) -> list[Row]:
    """RowTables in random order with many ties of user and time."""
    rng = np.random.default_rng(seed)
    columns = rng.integers(1, users + 1, rows), rng.integers(1, items + 1, rows), rng.integers(1, 6, rows)
    when = rng.integers(0, days, rows) * 86_400
    return [(str(u), str(i), float(r), int(t)) for u, i, r, t in zip(*columns, when, strict=True)]


@dataclass(frozen=True)
class MadeReader:
    """A reader of rows that are in memory already; its one file stands for their content.

    Attributes:
        spoil: SQL that is executed on the tables at last.
        tables: what the reader says of them.
    """

    rows: list[Row]
    path: Path
    titles: dict[str, str | None] | None = None
    knob: int = 0
    spoil: str = ""
    tables: RawTables = field(default_factory=RawTables)

    def files(self):
        return {"made": self.path}

    def identity(self):
        return {"reader": "made", "knob": self.knob}

    def read(self, engine):
        fill(engine, self.rows, self.titles)
        if self.spoil:
            engine.run(self.spoil)
        return self.tables


@pytest.fixture
def made_reader(tmp_path):
    def make(rows: list[Row], **options) -> MadeReader:
        path = tmp_path / "made.txt"
        path.write_text(repr((rows, options.get("titles"))))
        return MadeReader(rows, path, **options)

    return make
