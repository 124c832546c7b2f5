"""HR@20 and NDCG@20 over a whole catalogue for many users: ranks by counting, against a list of the best a user.

    python benchmarks/catalogue.py                                  # 100,000 users, 50,000 items, vectors of 64
    python benchmarks/catalogue.py --users 20000 --rounds 3 --json catalogue.json

Compared in turn, in one process, on the same vectors; every user has one relevant item and `--known` known ones:

    this package      `recsys_lora.evaluation.catalogue`: a block of scores at a time, ranks by counting
    matrix product    the same blocks of scores and nothing else
    best of a block   torch.topk over the same blocks, known items masked, as RecBole's full-sort evaluation does
    a user at a time  NumPy: scores of one user, known items masked, argpartition, the best 20 sorted

Each runs on `--subset` users, and its time is scaled to all. First it is checked that the measures are the same. The
ratio is a case's time over this package's, in the same round; at most 1.5 times the product's time is aimed at, so the
product's ratio is to be 0.667 or more. Peak memory is of one step.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import _table
import _timing
from _table import Aim, Row
from _timing import OURS, Step

PRODUCT, BEST, LOOP = "matrix product", "best of a block", "a user at a time"
AIMS = {PRODUCT: Aim(0.667), BEST: Aim(1), LOOP: Aim(4)}
K = 20


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = _timing.parser(__doc__, rounds=3)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--known", type=int, default=50, help="known items of a user")
    parser.add_argument("--subset", type=int, default=10_000, help="users that are timed")
    options = parser.parse_args(argv)
    options.subset = min(options.subset, options.users)
    return options


@dataclass(frozen=True)
class World:
    """Vectors, and what is relevant and known.

    Attributes:
        users: (Q, D) float32.
        items: (N + 1, D) float32.
        relevant: (Q,) item numbers.
        known: (Q, known) item numbers, none of them relevant.
    """

    users: Any
    items: Any
    relevant: Any
    known: Any


def make_world(options: argparse.Namespace) -> World:
    """Return random vectors; a relevant item's lies near its user's, so that some are hit."""
    import numpy as np
    import torch

    random = np.random.default_rng(0)
    users = random.normal(size=(options.subset, options.dim))
    items = random.normal(size=(options.items + 1, options.dim))
    drawn = np.stack([random.choice(options.items, options.known + 1, replace=False) + 1 for _ in users])
    users += 0.4 * items[drawn[:, 0]]
    vectors = [torch.from_numpy(side.astype(np.float32)).to(options.device) for side in (users, items)]
    return World(*vectors, drawn[:, 0], drawn[:, 1:])


def ranking(world: World) -> Step:
    """Return what gives (HR@20, NDCG@20) by this package."""
    import numpy as np

    from recsys_lora.evaluation.catalogue import ItemLists, catalogue_ranks, hit_rate_at, ndcg_at

    queries, each = world.known.shape
    relevant = ItemLists.of(np.arange(queries), world.relevant, queries)
    known = ItemLists.of(np.repeat(np.arange(queries), each), world.known.ravel(), queries)

    def measure() -> Any:
        ranks = catalogue_ranks(world.users, world.items, relevant, known)
        return np.array([np.nanmean(hit_rate_at(ranks, relevant, K)), np.nanmean(ndcg_at(ranks, relevant, K))])

    return measure


def blocks(world: World) -> Iterator[tuple[slice, Any]]:
    """Yield blocks of users, and their scores in the same memory each time."""
    import torch

    from recsys_lora.evaluation.catalogue import ELEMENTS_AT_ONCE

    size = max(1, ELEMENTS_AT_ONCE // len(world.items))
    scores = world.users.new_empty(min(size, len(world.users)), len(world.items))
    for begin in range(0, len(world.users), size):
        part = slice(begin, begin + size)
        users = world.users[part]
        yield part, torch.mm(users, world.items.T, out=scores[: len(users)])


def product(world: World) -> Step:
    """Return what makes the blocks of scores."""

    def multiply() -> None:
        for _ in blocks(world):
            pass

    return multiply


def best(world: World) -> Step:
    """Return what gives (HR@20, NDCG@20) by the best 20 of each row of a block."""
    import numpy as np
    import torch

    relevant, known = (torch.from_numpy(side).to(world.users.device) for side in (world.relevant, world.known))

    def measure() -> Any:
        hits, gains = 0, 0.0
        for part, scores in blocks(world):
            scores.scatter_(1, known[part], -torch.inf)
            scores[:, 0] = -torch.inf
            places = (scores.topk(K, dim=1).indices == relevant[part, None]).nonzero()[:, 1]  # of the hits
            hits += len(places)
            gains += float((1 / torch.log2(places + 2.0)).sum())
        return np.array([hits, gains]) / len(world.users)

    return measure


def loop(world: World) -> Step:
    """Return what gives (HR@20, NDCG@20) a user at a time."""
    import numpy as np

    users, items = world.users.cpu().numpy(), world.items.cpu().numpy()

    def measure() -> Any:
        hits = gains = 0.0
        for user, relevant, known in zip(users, world.relevant, world.known, strict=True):
            scores = items @ user
            scores[known] = scores[0] = -np.inf
            best = np.argpartition(-scores, K)[:K]
            best = best[np.argsort(-scores[best])]
            place = np.flatnonzero(best == relevant)
            hits += len(place)
            gains += float((1 / np.log2(place + 2)).sum())
        return np.array([hits, gains]) / len(users)

    return measure


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Measure and print."""
    options = arguments(argv)
    _timing.use_threads(options)
    world = make_world(options)
    steps: dict[str, Step] = {
        OURS: ranking(world),
        PRODUCT: product(world),
        BEST: best(world),
        LOOP: loop(world),
    }
    for case in (BEST, LOOP):
        _timing.same(steps[OURS](), steps[case](), 1e-3, case)
    scale = dict.fromkeys(steps, options.users / options.subset)
    rows = _timing.compared(_timing.in_turn(steps, options), OURS, AIMS, scale)
    rows = _timing.with_peaks(rows, steps, options)
    shapes = {"users": f"{options.users:,} (times scaled from {options.subset:,})", "items": f"{options.items:,}"}
    shapes |= {"dim": options.dim, "known": options.known, "k": K, "dtype": "float32"}
    _table.report(rows, _table.environment(options, ("torch", "numpy"), **shapes), options)
    return rows


if __name__ == "__main__":
    main()
