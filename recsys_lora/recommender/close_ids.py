"""Suggestions for an unknown id: known ids with a close spelling, which are looked up, or the item with that title."""

import itertools
import string
from collections.abc import Container, Iterator

import polars as pl

from recsys_lora.data.live import LiveData

MOST = 3
"""Suggestions for one id."""
_LONGEST = 64
"""Longest id for which close ones are looked up: some 9,000 spellings."""
_TYPED = string.digits + string.ascii_letters + "-_. "


def hint_for_user(live: LiveData, raw: str) -> str:
    """Return suggestions for an unknown user, in brackets after a space; "" if nothing is close."""
    item = f"{raw!r} is an item" if raw in live.item_numbers else _titled(live, raw)
    return _in_brackets(_close(raw, live.user_numbers), item)


def hint_for_item(live: LiveData, raw: str) -> str:
    """Return suggestions for an unknown item, in brackets after a space; "" if nothing is close."""
    user = f"{raw!r} is a user" if raw in live.user_numbers else ""
    return _in_brackets(_titled(live, raw) or _close(raw, live.item_numbers), user)


def close_to(raw: str, known: Container[str]) -> str:
    """Return the known ids that are close to an unknown one, in brackets after a space; "" if there are none."""
    return _in_brackets(_close(raw, known))


def close_ids(raw: str, known: Container[str]) -> list[str]:
    """Return up to three known ids that are one typo away, likeliest first.

    Args:
        raw: the id.
        known: known ids; looked up, never iterated over.
    """
    if len(raw) > _LONGEST:
        return []
    found: dict[str, None] = {}
    for other in _spellings(raw):
        if other in known:
            found[other] = None
        if len(found) == MOST:
            break
    return list(found)


def _spellings(raw: str) -> Iterator[str]:
    """Yield other spellings of an id, smallest differences first."""
    bare = raw.strip().strip("'\"")
    number = bare.removesuffix(".0")
    yield from (bare, bare.lower(), bare.upper(), number, number.lstrip("0"))
    yield from (number.zfill(width) for width in range(len(number) + 1, len(number) + 9))
    places = range(len(bare))
    yield from (bare[:at] + bare[at + 1 : at + 2] + bare[at] + bare[at + 2 :] for at in places)  # two swapped
    yield from (bare[:at] + bare[at + 1 :] for at in places)
    typed = sorted({*_TYPED, *bare})
    yield from (bare[:at] + letter + bare[at + 1 :] for at, letter in itertools.product(reversed(places), typed))
    yield from (bare[:at] + letter + bare[at:] for at, letter in itertools.product(range(len(bare), -1, -1), typed))


def _close(raw: str, known: Container[str]) -> str:
    near = close_ids(raw, known)
    return f"close to {raw!r}: {', '.join(map(repr, near))}" if near else ""


def _titled(live: LiveData, raw: str) -> str:
    """Return a hint if an id is an item's title, ignoring case; else ""."""
    title = pl.col("title").str.strip_chars().str.to_lowercase()
    found = live.items.filter(title == raw.strip().lower())["item_id"]
    return f"{raw!r} is the title of item {found[0]!r}" if len(found) else ""


def _in_brackets(*hints: str) -> str:
    said = "; ".join(filter(None, hints))
    return f" ({said})" if said else ""
