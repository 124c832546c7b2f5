"""Rules that split interactions into train, valid and test. Each is a pure function of the reader's tables.

What all rules share: users stand in the order of their numbers, each user's rows in the order in which history is
walked. Unless a rule says otherwise, users are numbered by ascending raw id and items by first appearance in that
order; ids that are all digits sort as numbers.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction as Exact
from typing import Any

import polars as pl

from recsys_lora.data.schema import SPLITS, Arranged, Dropped, RawTables
from recsys_lora.types import Fraction, NonNegativeInt

DIGITS = r"^[0-9]+$"


def natural_order(column: str) -> list[pl.Expr]:
    """Return sort keys for raw ids: all digits first, as numbers of any length, then the rest as text."""
    digits = pl.col(column).str.contains(DIGITS)
    stripped = pl.col(column).str.strip_chars_start("0")
    return [
        digits.not_(),
        pl.when(digits).then(stripped.str.len_bytes()).otherwise(0),
        pl.when(digits).then(stripped).otherwise(pl.col(column)),
        pl.col(column),
    ]


def _first_appearances(interactions: pl.DataFrame, column: str) -> pl.Series:
    return interactions[column].unique(maintain_order=True)


def _arranged(interactions: pl.DataFrame, dropped: Sequence[Dropped] = ()) -> Arranged:
    """Number users and items by first appearance in rows that are already in their final order."""
    kept = interactions.select(pl.exclude("_line", "_movie", "_rank"))
    return Arranged(kept, _first_appearances(kept, "user_id"), _first_appearances(kept, "item_id"), dropped)


def _chronological(interactions: pl.DataFrame) -> pl.DataFrame:
    """Sort by user, time, item, line: an order that does not depend on how the file happens to be sorted."""
    keys = [*natural_order("user_id"), pl.col("timestamp"), *natural_order("item_id"), pl.col("_line")]
    return interactions.with_row_index("_line").sort(keys)


def _named(train: pl.Expr, valid: pl.Expr) -> pl.Expr:
    return pl.when(train).then(pl.lit("train")).when(valid).then(pl.lit("valid")).otherwise(pl.lit("test"))


def _shares(rank: pl.Expr, count: pl.Expr, train: float, valid: float) -> pl.Expr:
    """Name the part of row `rank` of `count`: train if rank < train x count, and so on; exact, for 0.8 x 15 is 12."""
    first, both = Exact(str(train)), Exact(str(train)) + Exact(str(valid))
    rank, count = rank.cast(pl.Int64), count.cast(pl.Int64)
    return _named(
        rank * first.denominator < count * first.numerator,
        rank * both.denominator < count * both.numerator,
    ).alias("split")


@dataclass(frozen=True)
class UserTime:
    """Each user's rows by time, then item id: the first share trains, the next validates, the rest tests.

    Attributes:
        train: share of each user's rows, the earliest.
        valid: share after those.
    """

    train: Fraction = 0.8
    valid: Fraction = 0.1
    published_valid: float | None = None

    def identity(self) -> dict[str, Any]:
        """Return the rule's name and knobs."""
        return {"split": "user_time", **asdict(self)}

    def arrange(self, tables: RawTables) -> Arranged:
        """Split each user's rows by their rank in time."""
        rows = _chronological(tables.interactions)
        rank, count = pl.int_range(pl.len()).over("user_id"), pl.len().over("user_id")
        return _arranged(rows.with_columns(_shares(rank, count, self.train, self.valid)))


@dataclass(frozen=True)
class GlobalTime:
    """All rows by time: the earliest share trains. Many test users are then unseen in train: know what you measure.

    Attributes:
        train: share of all rows, the earliest.
        valid: share after those.
    """

    train: Fraction = 0.8
    valid: Fraction = 0.1
    published_valid: float | None = None

    def identity(self) -> dict[str, Any]:
        """Return the rule's name and knobs."""
        return {"split": "global_time", **asdict(self)}

    def arrange(self, tables: RawTables) -> Arranged:
        """Split the rows by their rank in time; ties go by user id, then item id."""
        rows = _chronological(tables.interactions).with_row_index("_rank")
        ranks = rows.sort("timestamp", maintain_order=True).select("_rank", pl.int_range(pl.len()).alias("_movie"))
        parts = ranks.sort("_rank").select(_shares(pl.col("_movie"), pl.len(), self.train, self.valid))
        return _arranged(rows.with_columns(parts["split"]))


@dataclass(frozen=True)
class LeaveLastOut:
    """Each user's last row tests, the one before validates; users with fewer rows than `min_rows` only train.

    Attributes:
        min_rows: rows a user needs to be tested.
    """

    min_rows: NonNegativeInt = 3
    published_valid: float | None = None

    def identity(self) -> dict[str, Any]:
        """Return the rule's name and knobs."""
        return {"split": "leave_last_out", **asdict(self)}

    def arrange(self, tables: RawTables) -> Arranged:
        """Split each user's rows counted from the last."""
        rows = _chronological(tables.interactions)
        count = pl.len().over("user_id").cast(pl.Int64)
        left = count - pl.int_range(pl.len()).over("user_id")  # 1 for the last row
        part = _named((left > 2) | (count < self.min_rows), left == 2).alias("split")
        return _arranged(rows.with_columns(part))


@dataclass(frozen=True)
class MovieLensBenchmark:
    """The ML-1M split of CoLLM, BinLLM, CoRA and later work, by calendar months (UTC); April 2000 is month 0.

    Rows outside the months are dropped before histories and ids are made. Ties of user and second are broken as in
    the published files, which come from a merge with the movies: by the movie's first appearance in the whole ratings
    file, then by line.

    Attributes:
        train: first and last month.
        valid: first and last month.
        test: first and last month.
        published_valid: share of the valid rows that published work validates on.
    """

    train: Sequence[int] = (14, 23)
    valid: Sequence[int] = (24, 28)
    test: Sequence[int] = (29, 33)
    published_valid: float | None = 0.5

    def identity(self) -> dict[str, Any]:
        """Return the rule's name and knobs."""
        months: dict[str, Any] = {name: list(getattr(self, name)) for name in SPLITS}
        return {"split": "movielens_benchmark", **months, "published_valid": self.published_valid}

    def arrange(self, tables: RawTables) -> Arranged:
        """Split by month."""
        rows = tables.interactions.with_row_index("_line")
        rows = rows.with_columns(pl.col("_line").min().over("item_id").alias("_movie")).sort("_movie", "_line")
        when = pl.from_epoch("timestamp", time_unit="s")
        month = (when.dt.year().cast(pl.Int64) - 2000) * 12 + when.dt.month().cast(pl.Int64) - 4
        part = pl.lit(None, pl.String)
        for name in SPLITS:
            first, last = getattr(self, name)
            part = pl.when(month.is_between(first, last)).then(pl.lit(name)).otherwise(part)
        kept = rows.with_columns(part.alias("split")).filter(pl.col("split").is_not_null())
        kept = kept.sort([*natural_order("user_id"), pl.col("timestamp")], maintain_order=True)
        return _arranged(kept, [Dropped("outside the benchmark's months", len(rows) - len(kept))])


@dataclass(frozen=True)
class AmazonBookBenchmark:
    """The Amazon-Book split of CoLLM, BinLLM, CoRA and later work.

    One year's rows; then one pass that keeps users and items with more rows than `more_than`, counted before either
    filter. January to November train; December, sorted by time, is halved into valid and test. Times are whole days
    and the published sort was unstable, so ties are fixed here: by the item's place in the meta file, then by line.
    Users and items are numbered by first appearance in that order, before the split by time.

    Attributes:
        year: whose rows are used (UTC).
        more_than: rows that users and items have to exceed.
        published_valid: share of the valid rows that published work validates on.
    """

    year: int = 2017
    more_than: NonNegativeInt = 20
    published_valid: float | None = 0.25

    def identity(self) -> dict[str, Any]:
        """Return the rule's name and knobs."""
        return {"split": "amazon_book_benchmark", **asdict(self)}

    def arrange(self, tables: RawTables) -> Arranged:
        """Filter, number, then split by month."""
        when = pl.from_epoch("timestamp", time_unit="s")
        every = tables.interactions
        rows = every.with_row_index("_line").filter(when.dt.year() == self.year)
        enough = [pl.len().over(column) > self.more_than for column in ("user_id", "item_id")]
        kept = rows.filter(*enough)
        places = tables.items.select("item_id").with_row_index("_place")
        kept = kept.join(places, on="item_id", how="left", maintain_order="left").sort("_place", "_line")
        users, items = _first_appearances(kept, "user_id"), _first_appearances(kept, "item_id")
        december = pl.col("timestamp").rank("ordinal").over(when.dt.month() == 12).cast(pl.Int64) - 1
        half = (when.dt.month() == 12).sum() // 2
        kept = kept.with_columns(_named(when.dt.month() < 12, december < half).alias("split"))
        numbers = pl.DataFrame({"user_id": users}).with_row_index("_user")
        kept = kept.join(numbers, on="user_id", how="left", maintain_order="left")
        kept = kept.sort("_user", "timestamp", "_place", "_line").drop("_user", "_place", "_line")
        few = f"a user or an item with {self.more_than} rows of {self.year} or fewer"
        dropped = [Dropped(f"not of {self.year}", len(every) - len(rows)), Dropped(few, len(rows) - len(kept))]
        return Arranged(kept, users, items, dropped)
