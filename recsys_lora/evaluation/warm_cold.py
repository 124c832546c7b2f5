"""Which rows are warm: three definitions are in use in the field, and their numbers differ.

| name | warm | cold |
|---|---|---|
| `seen` | user and item both occur in train (CoRA's code) | every other row |
| `count` | user and item each at least 3 times in train (CoLLM's text) | every other row |
| `notebook` | user and item each more than 3 times in train | neither occurs in train |

With `notebook` most of the remaining rows are neither.
"""

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Definition = Literal["seen", "count", "notebook"]
DEFINITIONS: tuple[Definition, ...] = get_args(Definition)
WARM, COLD, NEITHER = 1, 0, -1
_ENOUGH = 3
"""The threshold in CoLLM's text and notebook."""


def warm_cold(
    definition: Definition,
    user: NDArray[np.int64],
    item: NDArray[np.int64],
    user_counts: NDArray[np.int64],
    item_counts: NDArray[np.int64],
) -> NDArray[np.int8]:
    """Return for each row whether it is warm (1), cold (0) or neither (-1).

    Args:
        definition: see above.
        user: (n,).
        item: (n,).
        user_counts: (U + 1,) number of rows of each user in all of train, not in a sample.
        item_counts: (N + 1,) the same for each item.

    Returns:
        (n,) int8.
    """
    users, items = user_counts[user], item_counts[item]  # (n,)
    if definition == "seen":
        warm, cold = (users > 0) & (items > 0), (users == 0) | (items == 0)
    elif definition == "count":
        warm = (users >= _ENOUGH) & (items >= _ENOUGH)
        cold = ~warm
    else:
        warm, cold = (users > _ENOUGH) & (items > _ENOUGH), (users == 0) & (items == 0)
    result: NDArray[np.int8] = np.select([warm, cold], [WARM, COLD], default=NEITHER).astype(np.int8)
    return result


def all_warm_cold(user: Any, item: Any, user_counts: Any, item_counts: Any) -> dict[Definition, NDArray[np.int8]]:
    """Return `warm_cold` under each definition."""
    return {name: warm_cold(name, user, item, user_counts, item_counts) for name in DEFINITIONS}
