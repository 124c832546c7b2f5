"""Groups of adjacent rows of one user in a batch, so that the user's positives and negatives can be compared."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def grouped_by_user(
    rows: NDArray[np.int64], users: NDArray[np.int64], size: int, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Put rows of one user together, in groups in random order.

    Args:
        rows: (n,) in random order.
        users: (n,) each row's user.
        size: rows per group; a user's last group may have fewer.
        generator: decides the order of the groups.

    Returns:
        The rows (n,), and each one's group number (n,), 0, 1, 2, ... in order.
    """
    if not len(rows):
        return rows, rows.copy()
    order = np.argsort(users, kind="stable")  # a user's rows stay in random order
    places = np.arange(len(rows))
    first = np.diff(users[order], prepend=users[order[0]] - 1) != 0
    begins = (places - np.maximum.accumulate(np.where(first, places, 0))) % size == 0
    number = np.cumsum(begins) - 1
    group = generator.permutation(int(begins.sum()))[number]
    shuffled = np.argsort(group, kind="stable")
    return rows[order[shuffled]], group[shuffled]


def longest_of_group(lengths: NDArray[Any], groups: NDArray[np.int64]) -> NDArray[Any]:
    """Return the largest length in each entry's group (n,), from lengths (n,) and group numbers (n,)."""
    longest = np.zeros_like(lengths)
    np.maximum.at(longest, groups, lengths)
    return longest[groups]


def count_pairs(users: NDArray[np.int64], positive: NDArray[np.bool_]) -> int:
    """Return the number of pairs of a positive and a negative row of one user.

    Args:
        users: (n,) each row's user.
        positive: (n,) whether each is positive.
    """
    _, number = np.unique(users, return_inverse=True)
    return int(np.bincount(number, weights=positive) @ np.bincount(number, weights=~positive))
