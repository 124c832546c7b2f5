"""Counted nouns, and common prefixes of sequences."""

import itertools
from collections.abc import Sequence
from typing import Any


def counted(count: int, one: str) -> str:
    """Write a number and what it counts, given the singular: `1 user`, `1,204 users`."""
    return f"{count:,} {one}{'' if count == 1 else 's'}"


def shared_start(sequences: Sequence[Sequence[Any]]) -> int:
    """Return the length of the sequences' common prefix."""
    columns = zip(*sequences, strict=False)  # up to the shortest
    return sum(1 for _ in itertools.takewhile(lambda column: len(set(column)) == 1, columns))
