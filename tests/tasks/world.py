"""A small data set whose rows can be read at a glance, and tasks with short prompts."""

from pathlib import Path
from typing import Any

import polars as pl

from recsys_lora.data.prepared import PreparedData
from recsys_lora.prompts.template import Template
from recsys_lora.tasks.scale import RatingScale

SCALE = RatingScale(1.0, 5.0, 1.0)
WORDS = {"item": "movie", "items": "movies"}
ITEMS = 40


def title(item: int) -> str:
    return f"Film {item}"


def data(rows, split="user_time", items=ITEMS, titles=None, **columns) -> PreparedData:
    """Return a data set of rows (user, item, rating, split), each user's oldest first; 4 and 5 are positive."""
    user, item, rating, part = zip(*rows, strict=True)
    interactions = pl.DataFrame(
        {
            "user_id": [f"u{number}" for number in user],
            "item_id": [f"i{number}" for number in item],
            "user": user,
            "item": item,
            "rating": pl.Series(rating, dtype=pl.Float32),
            "label": [int(value >= 4) for value in rating],
            "timestamp": range(len(rows)),
            "split": part,
            **columns,
        }
    )
    numbers = list(range(1, items + 1))
    table = pl.DataFrame(
        {"item_id": [f"i{n}" for n in numbers], "item": numbers, "title": titles or [title(n) for n in numbers]}
    )
    manifest = {"key": "small", "name": "small", "split": {"split": split}}
    return PreparedData(Path("nowhere"), manifest, interactions, table)


def many(users: int = 30, split: str = "user_time", valid: tuple[int, ...] = (5,)) -> PreparedData:
    """Return users with eight rows each: ratings 5, 4, 1, 5, 2, 4 in train, `valid` in turn in valid, 4 in test."""
    parts = ["train"] * 6 + ["valid", "test"]
    rows = [
        (user, (7 * user + 3 * place) % ITEMS + 1, rating, part)
        for user in range(1, users + 1)
        for place, (rating, part) in enumerate(zip([5, 4, 1, 5, 2, 4, valid[user % len(valid)], 4], parts, strict=True))
    ]
    return data(rows, split)


def prompts(question: str = "{title}?", **knobs) -> dict[str, Any]:
    """Return the two prompts of a task and the scale, as arguments."""
    options = {"item": "{title}", "history_items": 3, **knobs}
    text = Template(f"Liked {{history}}. {question} #Answer:", f"None. {question} #Answer:", **options)
    if "candidate" in options:
        options["candidate"] += " <item>"
    else:
        question += " <item>"
    soft = Template(
        f"<user> liked {{history}}. {question} #Answer:",
        f"<user> none. {question} #Answer:",
        soft_tokens=["user", "item"],
        **options,
    )
    return {"text": text, "collaborative": soft, "scale": SCALE}


def listed() -> dict[str, Any]:
    """Return the two prompts of a task with candidates."""
    return prompts("Of {candidates}?", candidate="{letter}) {title}")
