"""Rules that split interactions into train, valid and test. Each is a pure function of the rows.

All rules order rows by user number, and each user's rows as in the user's history. **No rule uses the raw ids**, except
for the published ML-1M split, which orders users by raw id. Rows of the same time are in a seeded random order that
depends on their place in the file, or in file order; in a file sorted by item, the latter would let the item decide
which row is tested. Users are numbered by first appearance in the file, items by first appearance in the order of the
rows.
"""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from recsys_lora.data.order import Ties, named, shares, shares_of_user, tie_order
from recsys_lora.data.published import AmazonBookBenchmark, MovieLensBenchmark
from recsys_lora.data.schema import RowTables, SplitResult
from recsys_lora.utils.types import Fraction, NonNegativeInt

__all__ = ["AmazonBookBenchmark", "ColdItems", "GlobalTime", "LeaveLastOut", "MovieLensBenchmark", "UserTime"]


def _by_user(rows: RowTables, part: str) -> SplitResult:
    """Assign each of the `ordered` rows to a part, from its `rank` among the `count` rows of its user."""
    rows.engine.run(
        f"CREATE OR REPLACE TABLE arranged AS SELECT line, place, {part} AS split FROM (SELECT line, place, "
        "place - first AS rank, count FROM ordered JOIN (SELECT user, min(place) AS first, count(*) AS count "
        "FROM ordered GROUP BY user) USING (user))"
    )
    return SplitResult("arranged")


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """Base of the rules; a subclass sets its name as `rule`, and assigns rows to parts.

    Attributes:
        ties: order of a user's rows of the same time: `random`, from `seed` and the place in the file, or `file`.
        seed: seed of the random order.
    """

    rule: ClassVar[str]
    ties: Ties = "random"
    seed: NonNegativeInt = 0
    published_valid: float | None = None

    def identity(self) -> dict[str, Any]:
        """Return the rule's name and settings."""
        return {"split": self.rule, **asdict(self)}

    def _order(self, rows: RowTables) -> str:
        """Make the table `ordered`, with `place`: by user, then by time; return SQL of the order of ties."""
        order = tie_order(self.ties, self.seed)
        rows.engine.run(
            "CREATE OR REPLACE TABLE ordered AS SELECT line, user, item, timestamp, row_number() OVER () - 1 AS place "
            f"FROM (SELECT line, user, item, timestamp FROM {rows.rows} ORDER BY user, timestamp, {order})",
            "putting rows in order",
            (rows.engine.count(rows.rows), "rows"),
        )
        return order


@dataclass(frozen=True)
class _Shares(_Rule):
    """Base of the rules that split by shares.

    Attributes:
        train: share of train, which comes first.
        valid: share of valid, which comes next; the rest is test.
    """

    train: Fraction = 0.8
    valid: Fraction = 0.1


@dataclass(frozen=True)
class UserTime(_Shares):
    """Each user's rows by time: the first share is train, the next valid, the rest test.

    Users with fewer than ten rows still have one in each part; those with fewer than three are in train only.
    """

    rule: ClassVar[str] = "user_time"

    def arrange(self, rows: RowTables) -> SplitResult:
        """Split each user's rows by their rank in time."""
        self._order(rows)
        return _by_user(rows, shares_of_user("rank", "count", self.train, self.valid))


@dataclass(frozen=True)
class GlobalTime(_Shares):
    """All rows by time: the earliest share is train. Many test users are unseen in train: know what you measure."""

    rule: ClassVar[str] = "global_time"

    def arrange(self, rows: RowTables) -> SplitResult:
        """Split the rows by their rank in time."""
        order = self._order(rows)
        part = shares("rank", str(rows.engine.count("ordered")), self.train, self.valid)
        rows.engine.run(
            f"CREATE OR REPLACE TABLE arranged AS SELECT line, place, {part} AS split FROM "
            "(SELECT line, place, row_number() OVER () - 1 AS rank FROM "
            f"(SELECT line, place FROM ordered ORDER BY timestamp, {order}))"
        )
        return SplitResult("arranged")


@dataclass(frozen=True)
class LeaveLastOut(_Rule):
    """Each user's last row is test, the one before it valid; users with fewer than `min_rows` rows are in train only.

    Attributes:
        min_rows: rows a user needs to be tested.
    """

    rule: ClassVar[str] = "leave_last_out"
    min_rows: NonNegativeInt = 3

    def arrange(self, rows: RowTables) -> SplitResult:
        """Split each user's rows, counting from the last."""
        self._order(rows)
        return _by_user(rows, named(f"count - rank > 2 OR count < {self.min_rows}", "count - rank = 2"))


@dataclass(frozen=True)
class ColdItems(_Shares):
    """A random share of the items is train, the next valid, the rest test: test items have no rows in train.

    Item cold start: a CF model knows nothing about test items; their text is all there is. Held-out items are in
    nobody's history, so that prompts disclose none of their labels: valid and test rows show what the user likes among
    all train rows, train rows what came before them. The seed also decides which items are held out, from their first
    appearance in the file, not from their id.
    """

    rule: ClassVar[str] = "cold_items"

    def identity(self) -> dict[str, Any]:
        """Return the rule's name and settings, and that histories are of train rows."""
        return {**super().identity(), "histories": "train"}

    def arrange(self, rows: RowTables) -> SplitResult:
        """Split the rows by their items; each user's train rows come first, then valid, then test."""
        self._order(rows)
        items = int(rows.engine.value(f"SELECT count(DISTINCT item) FROM {rows.rows}"))
        rows.engine.run(
            f"CREATE OR REPLACE TABLE item_parts AS SELECT item, {shares('rank', str(items), self.train, self.valid)} "
            f"AS split FROM (SELECT item, row_number() OVER (ORDER BY md5_number_lower('{self.seed}:' || item), item) "
            f"- 1 AS rank FROM (SELECT DISTINCT item FROM {rows.rows}))"
        )
        rows.engine.run(
            "CREATE OR REPLACE TABLE arranged AS SELECT line, split, row_number() OVER () - 1 AS place FROM "
            "(SELECT line, split FROM ordered JOIN item_parts USING (item) "
            "ORDER BY user, split = 'test', split = 'valid', place)"
        )
        return SplitResult("arranged")
