"""Rules that split interactions into train, valid and test. Each is a pure function of the rows.

What all rules share: users are in the order of their numbers, each user's rows in the order in which history is
walked. **No rule looks at what ids are called**, but for the published ML-1M split, whose users stand by raw id.
Rows of one time are in a seeded random order by their place in the file, or in the order of the file: a file that is
sorted by item would otherwise decide by the item which row is tested. Users are numbered by first appearance in the
file, items by first appearance in the order of the rows.
"""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from recsys_lora.data.order import Ties, named, shares, shares_of_user, tie_order
from recsys_lora.data.published import AmazonBookBenchmark, MovieLensBenchmark
from recsys_lora.data.schema import RowTables, SplitResult
from recsys_lora.utils.types import Fraction, NonNegativeInt

__all__ = ["AmazonBookBenchmark", "ColdItems", "GlobalTime", "LeaveLastOut", "MovieLensBenchmark", "UserTime"]


def _by_user(rows: RowTables, part: str) -> SplitResult:
    """Name the part of each of the `ordered` rows from its `rank` among the `count` of its user."""
    rows.engine.run(
        f"CREATE OR REPLACE TABLE arranged AS SELECT line, place, {part} AS split FROM (SELECT line, place, "
        "place - first AS rank, count FROM ordered JOIN (SELECT user, min(place) AS first, count(*) AS count "
        "FROM ordered GROUP BY user) USING (user))"
    )
    return SplitResult("arranged")


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """The base of the rules; a subclass has its name as `rule`, and says which rows train.

    Attributes:
        ties: the order of a user's rows of one time: `random`, decided by `seed` and the place in the file, or `file`.
        seed: decides it.
    """

    rule: ClassVar[str]
    ties: Ties = "random"
    seed: NonNegativeInt = 0
    published_valid: float | None = None

    def identity(self) -> dict[str, Any]:
        """Return the rule's name and knobs."""
        return {"split": self.rule, **asdict(self)}

    def _order(self, rows: RowTables) -> str:
        """Make the table `ordered`, with `place`: a user's rows in a row, by time; returns SQL of the order of ties."""
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
    """The base of rules by shares.

    Attributes:
        train: share that trains, the first.
        valid: share after that; the rest tests.
    """

    train: Fraction = 0.8
    valid: Fraction = 0.1


@dataclass(frozen=True)
class UserTime(_Shares):
    """Each user's rows by time: the first share trains, the next validates, the rest tests.

    Users with fewer than ten rows still have one in each part, and those with fewer than three only train.
    """

    rule: ClassVar[str] = "user_time"

    def arrange(self, rows: RowTables) -> SplitResult:
        """Split each user's rows by their rank in time."""
        self._order(rows)
        return _by_user(rows, shares_of_user("rank", "count", self.train, self.valid))


@dataclass(frozen=True)
class GlobalTime(_Shares):
    """All rows by time: the earliest share trains. Many test users are then unseen in train: know what you measure."""

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
    """Each user's last row tests, the one before validates; users with fewer rows than `min_rows` only train.

    Attributes:
        min_rows: rows a user needs to be tested.
    """

    rule: ClassVar[str] = "leave_last_out"
    min_rows: NonNegativeInt = 3

    def arrange(self, rows: RowTables) -> SplitResult:
        """Split each user's rows counted from the last."""
        self._order(rows)
        return _by_user(rows, named(f"count - rank > 2 OR count < {self.min_rows}", "count - rank = 2"))


@dataclass(frozen=True)
class ColdItems(_Shares):
    """A random share of the items trains, the next validates, the rest tests: a tested item has no row in train.

    Item cold-start: a CF model knows nothing of the items that are tested, their text is all there is. Held-out items
    are nobody's history, so that prompts disclose no label of theirs: valid and test rows show what the user likes
    among all train rows, train rows what came before them. The seed also decides which items are held out: by their
    first appearance in the file, not by their id.
    """

    rule: ClassVar[str] = "cold_items"

    def identity(self) -> dict[str, Any]:
        """Return the rule's name and knobs, and that histories are of train rows."""
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
