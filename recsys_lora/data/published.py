"""The splits of published work, row for row: CoLLM, BinLLM, CoRA and later."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from recsys_lora.data.order import digits_first, named, refuse_untimed
from recsys_lora.data.schema import SPLITS, Dropped, RowTables, SplitResult
from recsys_lora.utils.types import NonNegativeInt


@dataclass(frozen=True)
class MovieLensBenchmark:
    """The ML-1M split of CoLLM, BinLLM, CoRA and later work, by calendar months (UTC); April 2000 is month 0.

    Rows outside the months are dropped before histories and ids are made. Ties of user and second are broken as in
    the published files, which come from a merge with the movies: by the movie's first appearance in the whole ratings
    file, then by line. Users are numbered by ascending raw id.

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
        """Return the rule's name and settings."""
        months: dict[str, Any] = {name: list(getattr(self, name)) for name in SPLITS}
        return {"split": "movielens_benchmark", **months, "published_valid": self.published_valid}

    def arrange(self, rows: RowTables) -> SplitResult:
        """Split by month."""
        refuse_untimed(rows, "movielens_benchmark")
        when = "make_timestamp(timestamp * 1000000)"
        month = f"(year({when}) - 2000) * 12 + month({when}) - 4"
        cases = " ".join(
            f"WHEN {month} BETWEEN {first} AND {last} THEN '{name}'"
            for name in reversed(SPLITS)
            for first, last in [getattr(self, name)]
        )
        rows.engine.run(
            f"CREATE OR REPLACE TABLE monthly AS SELECT *, CASE {cases} END AS split FROM {rows.rows} "
            "WHERE split IS NOT NULL"
        )
        # An item's number is its first appearance in the whole file.
        rows.engine.run(
            "CREATE OR REPLACE TABLE arranged AS SELECT line, split, row_number() OVER () - 1 AS place FROM "
            f"(SELECT line, split FROM monthly JOIN {rows.users} USING (user) "
            f"ORDER BY {digits_first('user_id')}, timestamp, item, line)"
        )
        left_out = rows.engine.count(rows.rows) - rows.engine.count("arranged")
        return SplitResult("arranged", dropped=[Dropped("outside the benchmark's months", left_out)])


@dataclass(frozen=True)
class AmazonBookBenchmark:
    """The Amazon-Book split of CoLLM, BinLLM, CoRA and later work.

    Keeps one year's rows; then, in one pass, users and items with more rows than `more_than`, counted before either
    filter. January to November train; December, sorted by time, is halved into valid and test. Times are whole days and
    the published sort was unstable, so ties are fixed here: by the item's place in the meta file, then by line. Users
    and items are numbered by first appearance in that order, before the split by time.

    Attributes:
        year: the year whose rows are used (UTC).
        more_than: rows that users and items have to exceed.
        published_valid: share of the valid rows that published work validates on.
    """

    year: int = 2017
    more_than: NonNegativeInt = 20
    published_valid: float | None = 0.25

    def identity(self) -> dict[str, Any]:
        """Return the rule's name and settings."""
        return {"split": "amazon_book_benchmark", **asdict(self)}

    def arrange(self, rows: RowTables) -> SplitResult:
        """Filter, number, then split by month."""
        refuse_untimed(rows, "amazon_book_benchmark")
        engine, when = rows.engine, "make_timestamp(timestamp * 1000000)"
        engine.run(
            f"CREATE OR REPLACE TABLE yearly AS SELECT line, user, item, timestamp, month({when}) = 12 AS december "
            f"FROM {rows.rows} WHERE year({when}) = {self.year}"
        )
        enough = " ".join(
            f"SEMI JOIN (SELECT {column} FROM yearly GROUP BY {column} HAVING count(*) > {self.more_than}) "
            f"USING ({column})"
            for column in ("user", "item")
        )
        engine.run(
            f"CREATE OR REPLACE TABLE frequent AS SELECT yearly.*, listed.line AS meta FROM yearly {enough} "
            f"JOIN {rows.items} USING (item) LEFT JOIN {rows.catalogue} listed USING (item_id)"
        )
        order = "meta NULLS FIRST, line"
        engine.run(
            "CREATE OR REPLACE TABLE merged AS SELECT *, row_number() OVER () - 1 AS appears FROM "
            f"(SELECT * FROM frequent ORDER BY {order})"
        )
        half = int(engine.value("SELECT count(*) // 2 FROM merged WHERE december"))
        part = named("NOT december", f"rank <= {half}")
        ranked = "row_number() OVER (PARTITION BY december ORDER BY timestamp, appears) AS rank"
        first = "min(appears) OVER (PARTITION BY user) AS first"
        engine.run(
            f"CREATE OR REPLACE TABLE arranged AS SELECT line, {part} AS split, row_number() OVER () - 1 AS place FROM "
            f"(SELECT * FROM (SELECT *, {ranked}, {first} FROM merged) ORDER BY first, timestamp, appears)"
        )
        every, year, kept = (engine.count(table) for table in (rows.rows, "yearly", "arranged"))
        few = f"a user or an item with {self.more_than} rows of {self.year} or fewer"
        numbers = [
            f"SELECT {column}, min(appears) AS first FROM merged GROUP BY {column}" for column in ("user", "item")
        ]
        dropped = [Dropped(f"not of {self.year}", every - year), Dropped(few, year - kept)]
        return SplitResult("arranged", users=numbers[0], items=numbers[1], dropped=dropped)
