"""SQL of orders and shares that splits have in common: ties, raw ids as numbers, exact shares."""

from fractions import Fraction as Exact
from typing import Literal

from recsys_lora.data.schema import RowTables
from recsys_lora.utils.errors import UserError

Ties = Literal["random", "file"]


def tie_order(ties: Ties, seed: int) -> str:
    """Return SQL of the order among rows of one time, by their place in the file."""
    return f"md5_number_lower('{seed}:' || line), line" if ties == "random" else "line"


def digits_first(column: str) -> str:
    """Return SQL sort keys for raw ids: all digits first, as numbers of any length, then the rest as text."""
    digits, stripped = f"regexp_full_match({column}, '[0-9]+')", f"ltrim({column}, '0')"
    return (
        f"NOT {digits}, CASE WHEN {digits} THEN length({stripped}) ELSE 0 END, "
        f"CASE WHEN {digits} THEN {stripped} ELSE {column} END, {column}"
    )


def named(train: str, valid: str) -> str:
    """Return SQL of a part's name from SQL of who trains and who validates."""
    return f"CASE WHEN {train} THEN 'train' WHEN {valid} THEN 'valid' ELSE 'test' END"


def shares(rank: str, count: str, train: float, valid: float) -> str:
    """Name the part of row `rank` of `count`: train if rank < train x count, and so on; exact, for 0.8 x 15 is 12."""
    first, both = Exact(str(train)), Exact(str(train)) + Exact(str(valid))
    return named(*(f"{_wide(rank)} * {cut.denominator} < {_wide(count)} * {cut.numerator}" for cut in (first, both)))


def _wide(number: str) -> str:
    """Return SQL of a whole number that can be multiplied by the digits of any share."""
    return f"CAST({number} AS HUGEINT)"


def shares_of_user(rank: str, count: str, train: float, valid: float) -> str:
    """Name the part of row `rank` of a user's `count` rows: as `shares`, but a part with a share gets a row.

    With shares of .8 and .1, a user of three to nine rows validates on one and tests on one. A user who has too few
    rows for one in each part trains.
    """
    first, both = Exact(str(train)), Exact(str(train)) + Exact(str(valid))
    tested = int(both < 1)
    held_out = tested + int(valid > 0)

    def cut(share: Exact, behind: int) -> str:
        whole = f"({_wide(count)} * {share.numerator} + {share.denominator - 1}) // {share.denominator}"
        return f"least({whole}, {count} - {behind})"

    return named(
        f"{count} <= {held_out} OR {rank} < {cut(first, held_out)}",
        f"{rank} < {cut(both, tested)}",
    )


def refuse_untimed(rows: RowTables, rule: str) -> None:
    """Refuse rows without times where a rule needs the calendar.

    Raises:
        UserError: timestamps are places in the file.
    """
    if not rows.timed:
        raise UserError(f"data.split={rule}: needs timestamps, and the data has none: choose data/split=user_time")
