"""AUC of every group of rows by one sort of integers.

A row becomes one 64-bit key, group · score · label from the highest bit to the lowest, and NumPy sorts 64-bit integers
ten times faster than it argsorts them. The sorted keys form runs of rows of the same group, score and label, and among
tied rows the negative ones come first. With pos_r the size of a run of positive rows, before_r the group's number of
negative rows before it, including tied ones, and tied_r that of tied ones,

    AUC = sum over runs r of pos_r * (2 * before_r - tied_r)  /  (2 * P * N)

where every term of the numerator is an integer, so the result is rounded only once.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_KEY_BITS = 64


def grouped_auc(
    group: NDArray[np.int64], positive: NDArray[np.bool_], score: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the groups that have rows of both classes, ascending, (m,), and each one's AUC, (m,).

    Args:
        group: (n,) numbers from 0, not much larger than n.
        positive: (n,).
        score: (n,) of any sortable dtype, without NaN.
    """
    if not positive.any():
        return group[:0], np.zeros(0)
    rows = np.bincount(group)  # (groups,)
    codes, bits = _codes(score, _KEY_BITS - 1 - len(rows).bit_length())
    key = group.astype(np.uint64)
    key <<= np.uint64(bits)
    key |= codes
    key <<= np.uint64(1)
    key |= positive
    key.sort()

    edges = _edges(key)  # (runs + 1,)
    start, size, key = edges[:-1], np.diff(edges), key[edges[:-1]]
    [run] = np.nonzero(key & np.uint64(1))  # the runs of positive rows (r,)
    pos = size[run]
    positives_before = np.cumsum(pos) - pos
    before = start[run] - positives_before  # of all groups so far
    tied = np.where(key[run - 1] == key[run] - np.uint64(1), size[run - 1], 0)  # run 0 meets the last, never tied

    found = (key[run] >> np.uint64(bits + 1)).astype(np.int64)
    first = _edges(found)[:-1]  # (m,), of the groups with positive rows
    found = found[first]
    P = np.add.reduceat(pos, first)
    N = rows[found] - P
    others = (np.cumsum(rows) - rows)[found] - positives_before[first]  # negative rows of the groups before
    doubled = np.add.reduceat(pos * (2 * before - tied), first) - 2 * P * others
    both = N > 0
    return found[both], doubled[both] / (2.0 * P[both] * N[both])


def numbered(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return ascending distinct values, which include those of the rows (n,), and each row's index in them (n,)."""
    if values.dtype.kind in "iu" and len(values):
        low, high = int(values.min()), int(values.max())
        if high - low < 4 * len(values) and high < 2**63:  # dense numbers are their own indices
            names = low + np.arange(high - low + 1)
            return names.astype(values.dtype), values.astype(np.int64) - low
    names, place = np.unique(values, return_inverse=True)
    return names, place.astype(np.int64)


def _codes(score: NDArray[Any], room: int) -> tuple[NDArray[np.uint64], int]:
    """Return integers (n,) with the scores' order and ties, and how many bits they have, at most `room`."""
    if score.dtype.kind == "f" and score.dtype.itemsize <= 8:
        image = _image(score)
        bits = int(image.max()).bit_length()
        if bits <= room:
            return image, bits
        short = np.uint64(bits - room)
        ordered = np.sort(image)
        # Dropping the last bits keeps the order, but may make scores equal, which is checked.
        different = ordered[1:] != ordered[:-1]
        ordered >>= short
        if np.array_equal(different, ordered[1:] != ordered[:-1]):
            image >>= short
            return image, room
    place = np.unique(score, return_inverse=True)[1]
    return place.astype(np.uint64), len(score).bit_length()


def _image(score: NDArray[np.floating[Any]]) -> NDArray[np.uint64]:
    """Return integers from 0 with the order and ties of floats (n,): their bits, inverted below 0."""
    bits = 8 * score.dtype.itemsize
    whole = (score + score.dtype.type(0)).view(f"i{score.dtype.itemsize}")  # the sum turns -0 into 0
    below = whole >> (bits - 1)  # all bits set where a number is below 0
    below &= whole.dtype.type(2 ** (bits - 1) - 1)
    whole ^= below
    image = whole.astype(np.int64, copy=False).view(np.uint64)
    image -= image[whole.argmin()]  # modulo 2^64: correct although it may overflow int64
    return image


def _edges(ordered: NDArray[Any]) -> NDArray[np.int64]:
    """Return where each distinct value begins in a sorted, non-empty array, followed by its length."""
    return np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1], [True]]))
