"""No prompt of a row, and no history beside it, holds anything later than the row, or the row's own answer.

Whatever a user did at the row and after it is made something else: other items, the other label. What a method reads
for the row may not change. That histories are of the past in every split is tested in tests/data/test_prepared.py.
"""

import dataclasses
from functools import partial

import numpy as np
import polars as pl
import pytest
import torch

from recsys_lora.data.prepared import PreparedData
from recsys_lora.methods.icl import InContext
from recsys_lora.tasks.ctr import ClickThrough
from recsys_lora.tasks.rating import Rating
from recsys_lora.tasks.topk import TopK
from tests.methods import factory
from tests.methods.ckf import world as ckf_world
from tests.methods.synthetic import WORDS, TableEncoder
from tests.methods.test_binllm import binllm
from tests.tasks import world as tasks_world

USERS, ITEMS, EACH = 6, 30, 14


def asked():
    """Three tasks whose prompts show a history with ratings, one with candidates."""
    rated = {"item": "{title} ({rating})", "history_items": 5}
    return {
        "ctr": ClickThrough(**tasks_world.prompts(**rated)),
        "rating": Rating(**tasks_world.prompts(**rated)),
        "topk": TopK(**tasks_world.listed(), candidates=3, cutoffs=[1]),
    }


def world(seed=0):
    """Every user rates other items, half of them well; the last third is valid and test."""
    draw = np.random.default_rng(seed)
    rows = [
        (
            user,
            int(item) + 1,
            int(draw.choice([1, 2, 4, 5])),
            "train" if place < 9 else "valid" if place < 11 else "test",
        )
        for user in range(1, USERS + 1)
        for place, item in enumerate(draw.permutation(ITEMS)[:EACH])
    ]
    return tasks_world.data(rows, items=ITEMS)


def icl(data, encoder, **knobs):
    text = factory.template(item="{title}", history_items=5)
    example = {"example": factory.template(), "examples": 3, "source": "user", "draw_seed": 0}
    prompt = text.changed(text="{examples}" + text.given["text"], no_history="{examples}" + text.given["no_history"])
    return InContext(name="icl", prompt=prompt, backbone=factory.backbone(data), **example, **knobs)


def codes(data, encoder, **knobs):
    bits = TableEncoder(USERS, ITEMS, 8)
    for table in (bits.users, bits.items):
        table.copy_(torch.where(table >= 0, 1.0, -1.0))
    return binllm(data, bits, **knobs)


METHODS = {
    "cora": factory.cora,
    "cora-suffix": partial(factory.cora, scope="suffix"),
    "collm": factory.collm,
    "graphlora": factory.graphlora,
    "ckf": lambda data, encoder, tasks: ckf_world.module((data, encoder), named=tasks),
    "binllm": codes,
    "person_prompt": lambda data, encoder, **knobs: factory.person_prompt(data, **knobs),
    "prompt4nr": lambda data, encoder, **knobs: factory.prompt4nr(data, **knobs),
    "zero_shot": lambda data, encoder, **knobs: factory.zero_shot(data, **knobs),
    "icl": icl,
}
WORDED = {"ckf"}
"""Methods that read the tasks' own prompts; the others have a wording of their own, of ctr."""


def otherwise(data: PreparedData, row: int) -> PreparedData:
    """Return the data with other items and the other label at a row, and at all later ones of its user."""
    table = data.interactions.with_row_index("place")
    user = table["user"][row]
    changed = (pl.col("user") == user) & (pl.col("place") >= row)
    rating = pl.when(changed).then(6 - pl.col("rating")).otherwise(pl.col("rating"))
    item = pl.when(changed).then(pl.col("item") % ITEMS + 1).otherwise(pl.col("item"))
    table = table.with_columns(rating=rating, item=item, label=(rating >= 4).cast(pl.Int64)).drop("place")
    return PreparedData(data.folder, data.manifest, table, data.items)


def read(module, data, name, questions):
    """Return what a method reads for each question: tokens, in each version, and histories."""
    prompts = module.datamodule(data, WORDS, seed=0).prompts[name]
    sets = [prompts.set(questions, version) for version in prompts.reading.wordings]
    return [([tokens.tolist() for tokens in made.prompts], made.history.tolist()) for made in sets]


@pytest.mark.parametrize("method", METHODS)
def test_what_is_read_for_a_row_is_older_than_the_row(method):
    torch.manual_seed(0)
    data = world()
    tasks = asked() if method in WORDED else {"ctr": asked()["ctr"]}
    module = METHODS[method](data, TableEncoder(USERS, ITEMS, 4), tasks=tasks)
    for name, task in tasks.items():
        questions = task.questions(data, "test", None, 0)
        assert len(questions) >= USERS
        found = read(module, data, name, questions)
        for place in range(0, len(questions), 4):
            row = int(questions.row[place])
            one = questions.take(np.array([place]))
            blind = dataclasses.replace(one, label=5 - one.label, target=np.zeros_like(one.target))
            again = read(module, otherwise(data, row), name, blind)
            for (tokens, histories), ([own], [history]) in zip(found, again, strict=True):
                assert own == tokens[place]
                assert history == histories[place]


def test_the_test_itself_sees_a_leak():
    data = world()
    module = factory.zero_shot(data, tasks={"ctr": asked()["ctr"]})
    questions = asked()["ctr"].questions(data, "test", None, 0)
    late = dataclasses.replace(questions, position=questions.position + 1)
    place = int(np.flatnonzero(data.every.label[questions.row] > 0)[0])  # the row itself is then in its history
    one, row = late.take(np.array([place])), int(questions.row[place])
    assert read(module, data, "ctr", one) != read(module, otherwise(data, row), "ctr", one)
