"""Raw tables made up for tests, and the real files where a person has them."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys_lora.data.schema import INTERACTION_COLUMNS, RawTables


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Keep fetched files and remembered checksums out of the person's cache."""
    monkeypatch.setenv("RECSYS_LORA_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def raw_data() -> Path:
    """The folder of real raw files; tests that need them are skipped where it is not named."""
    named = os.environ.get("RECSYS_LORA_TEST_DATA")
    if not named:
        pytest.skip("RECSYS_LORA_TEST_DATA names no folder of raw files")
    return Path(named)


def raw_tables(rows: list[tuple[str, str, float, int]], titles: dict[str, str | None] | None = None) -> RawTables:
    interactions = pl.DataFrame(rows, schema=INTERACTION_COLUMNS, orient="row")
    ids = list(titles) if titles else interactions["item_id"].unique(maintain_order=True).to_list()
    names = [titles[i] for i in ids] if titles else [f"Title {i}" for i in ids]
    return RawTables(
        interactions, pl.DataFrame({"item_id": ids, "title": names}, {"item_id": pl.String, "title": pl.String})
    )


def random_rows(
    seed: int, rows: int = 300, users: int = 12, items: int = 30, days: int = 40
) -> list[tuple[str, str, float, int]]:
    """Rows in random order with many ties of user and time."""
    rng = np.random.default_rng(seed)
    columns = rng.integers(1, users + 1, rows), rng.integers(1, items + 1, rows), rng.integers(1, 6, rows)
    when = rng.integers(0, days, rows) * 86_400
    return [(str(u), str(i), float(r), int(t)) for u, i, r, t in zip(*columns, when, strict=True)]


@dataclass(frozen=True)
class MadeReader:
    """A reader of tables that are in memory already; its one file stands for their content."""

    tables: RawTables
    path: Path
    knob: int = 0

    def files(self):
        return {"made": self.path}

    def identity(self):
        return {"reader": "made", "knob": self.knob}

    def read(self):
        return self.tables


@pytest.fixture
def made_reader(tmp_path):
    def make(tables: RawTables, content: str = "", knob: int = 0) -> MadeReader:
        path = tmp_path / "made.txt"
        path.write_text(content or tables.interactions.write_csv())
        return MadeReader(tables, path, knob)

    return make
