"""Batches split into groups of prompts of similar length: several forward passes with less padding instead of one.

If a batch mixes tasks, its prompts differ in length: a list of candidates is three times as long as a question about
one item. Padded together, a third to a half of all tokens are padding. Several forward passes cost more than one with
as many tokens, though: each has an overhead, given here in tokens.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FORWARD_OVERHEAD_TOKENS = 200.0
"""Overhead of a forward and backward pass on a CPU, in tokens, rounded: `benchmarks/forward_cost.py`, SmolLM2-135M in
bfloat16 on two cores."""


def length_groups(lengths: NDArray[np.integer[Any]], forward_overhead_tokens: float | None) -> list[NDArray[np.int64]]:
    """Split a batch into the cheapest groups; the cost is padded tokens plus `forward_overhead_tokens` per group.

    Args:
        lengths: tokens of each prompt (B,), B at least 1.
        forward_overhead_tokens: overhead of a group, in tokens; None does not split the batch.

    Returns:
        Indices into the batch, ascending within each group; the group with the longest prompts comes first, so that a
        batch that is too large fails at once.
    """
    B = len(lengths)
    if forward_overhead_tokens is None:
        return [np.arange(B)]
    order = np.argsort(-lengths, kind="stable")
    widths = lengths[order].astype(np.float64)
    # The best cut of the first n prompts, longest first, ends in a group that begins at some b < n.
    cost, begins = np.zeros(B + 1), np.zeros(B + 1, dtype=np.int64)
    for n in range(1, B + 1):
        totals = cost[:n] + forward_overhead_tokens + widths[:n] * (n - np.arange(n))
        begins[n] = totals.argmin()
        cost[n] = totals[begins[n]]
    groups, end = [], B
    while end:
        groups.append(np.sort(order[begins[end] : end]))
        end = int(begins[end])
    return groups[::-1]
