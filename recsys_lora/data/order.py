"""SQL that splits share: the order of ties, raw ids as numbers, exact shares."""

from fractions import Fraction as Exact
from typing import Literal

from recsys_lora.data.schema import RowTables
from recsys_lora.utils.errors import UserError

Ties = Literal["random", "file"]


def tie_order(ties: Ties, seed: int) -> str:
    """Return SQL that orders rows of the same time, from their place in the file."""
    return f"md5_number_lower('{seed}:' || line), line" if ties == "random" else "line"


def digits_first(column: str) -> str:
    """Return SQL sort keys for raw ids: all-digit ids first, as numbers of any length, then the others as text."""
    digits, stripped = f"regexp_full_match({column}, '[0-9]+')", f"ltrim({column}, '0')"
    return (
        f"NOT {digits}, CASE WHEN {digits} THEN length({stripped}) ELSE 0 END, "
        f"CASE WHEN {digits} THEN {stripped} ELSE {column} END, {column}"
    )


def named(train: str, valid: str) -> str:
    """Return SQL of a part's name, given SQL conditions for train and valid."""
    return f"CASE WHEN {train} THEN 'train' WHEN {valid} THEN 'valid' ELSE 'test' END"


def shares(rank: str, count: str, train: float, valid: float) -> str:
    """Return SQL of the part of row `rank` of `count`: train if rank < train x count, etc.; exact: 0.8 x 15 is 12."""
    first, both = Exact(str(train)), Exact(str(train)) + Exact(str(valid))
    return named(*(f"{_wide(rank)} * {cut.denominator} < {_wide(count)} * {cut.numerator}" for cut in (first, both)))


def _wide(number: str) -> str:
    """Return SQL of an integer wide enough to be multiplied by the digits of any share."""
    return f"CAST({number} AS HUGEINT)"


def shares_of_user(rank: str, count: str, train: float, valid: float) -> str:
    """Return SQL of the part of row `rank` of a user's `count` rows: as `shares`, but a part with a share gets a row.

    With shares of .8 and .1, users with three to nine rows have one in valid and one in test. Users with too few rows
    for one in each part are in train only.
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
    """Refuse rows without times for a rule that needs them.

    Raises:
        UserError: the timestamps are only places in the file.
    """
    if not rows.timed:
        raise UserError(f"data.split={rule}: needs timestamps, and the data has none: choose data/split=user_time")
