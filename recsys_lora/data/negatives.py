"""Negatives sampled for data sets that have only positives: purchases, plays, clicks.

Each positive gets items that its user is not known to like in any split, placed before it, so that they share its
history: the user's positives before it. The draws depend only on a seed and the positive's place in the file.
"""

from dataclasses import dataclass
from typing import Any

from recsys_lora.data.engine import Engine
from recsys_lora.data.schema import Remark
from recsys_lora.utils.types import NonNegativeInt, PositiveInt

ROUNDS = 30
"""Rounds of redrawing unsuitable items; after them, what is still open is drawn from the items that remain."""


@dataclass(frozen=True)
class Negatives:
    """How many negatives are sampled for each positive.

    Attributes:
        train: number in train, from the items that occur in train: a model must not learn that items which only occur
            later are disliked.
        test: number in valid and test, from the whole catalogue; reports state it.
        seed: seed of the draws.
    """

    train: PositiveInt = 1
    test: PositiveInt = 4
    seed: NonNegativeInt = 0

    def identity(self) -> dict[str, Any]:
        """Return the JSON-able settings."""
        return dict(vars(self))


def sample_negatives(engine: Engine, negatives: Negatives) -> list[Remark]:
    """Add the sampled items to the table `final`, with label and rating 0.

    Returns:
        How many were sampled, and how many could not be because a user likes nearly everything.
    """
    engine.run("CREATE OR REPLACE TABLE known AS SELECT DISTINCT user, item FROM final")
    engine.run("CREATE OR REPLACE TABLE drawn AS SELECT line, CAST(1 AS BIGINT) AS k, item FROM final WHERE false")
    for train, count in ((True, negatives.train), (False, negatives.test)):
        pool = "(SELECT DISTINCT item FROM final WHERE split = 'train')" if train else "final_items"
        engine.run(
            f"CREATE OR REPLACE TABLE pool AS SELECT item, row_number() OVER () - 1 AS n FROM (SELECT item FROM {pool} "
            "ORDER BY item)"
        )
        condition = f"split {'=' if train else '<>'} 'train'"
        engine.run(
            "CREATE OR REPLACE TABLE open AS SELECT line, user, k FROM final, "
            f"range(1, {count + 1}) numbers(k) WHERE {condition}"
        )
        _draw(engine, negatives.seed)
    wanted = engine.value(
        f"SELECT sum(CASE WHEN split = 'train' THEN {negatives.train} ELSE {negatives.test} END) FROM final"
    )
    engine.run(
        "INSERT INTO final SELECT line, place, user, drawn.item, CAST(0 AS FLOAT), CAST(0 AS TINYINT), timestamp, "
        "split, CAST(k AS INTEGER) FROM final JOIN drawn USING (line)"
    )
    count = engine.count("drawn")
    remarks = [
        Remark(
            f"negatives were sampled: {negatives.train} a positive in train, {negatives.test} in valid and test", count
        )
    ]
    if short := int(wanted) - count:
        remarks.append(Remark("negatives could not be sampled: these users like nearly all items", short))
    return remarks


def _draw(engine: Engine, seed: int) -> None:
    """Fill the places of `open` from `pool`: never a known positive, no item twice for one positive."""
    size = engine.count("pool")
    for attempt in range(ROUNDS):
        engine.run(
            "CREATE OR REPLACE TABLE fit AS SELECT line, min(k) AS k, item FROM (SELECT line, user, k, item FROM "
            f"(SELECT *, md5_number_lower('{seed}:' || line || ':' || k || ':{attempt}') % {size} AS n FROM open) "
            "JOIN pool USING (n)) ANTI JOIN known USING (user, item) ANTI JOIN drawn USING (line, item) "
            "GROUP BY line, item",
            "sampling negatives",
        )
        engine.run("INSERT INTO drawn SELECT line, k, item FROM fit")
        engine.run("CREATE OR REPLACE TABLE still AS SELECT * FROM open ANTI JOIN fit USING (line, k)")
        engine.run("DROP TABLE open")
        engine.run("ALTER TABLE still RENAME TO open")
        if not engine.count("open"):
            return
    engine.run(
        "INSERT INTO drawn SELECT line, k, item FROM "
        "(SELECT line, k, row_number() OVER (PARTITION BY line ORDER BY k) AS nth FROM open) JOIN "
        f"(SELECT line, item, row_number() OVER (PARTITION BY line ORDER BY md5('{seed}:' || line || ':' || item)) "
        "AS nth FROM (SELECT * FROM (SELECT DISTINCT line, user FROM open), pool) ANTI JOIN known USING (user, item) "
        "ANTI JOIN drawn USING (line, item)) USING (line, nth)"
    )
