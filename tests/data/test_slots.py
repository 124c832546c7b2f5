"""Attributes as slots of prompts."""

from pathlib import Path

import polars as pl
import pytest

from recsys_lora.data.prepared import PreparedData
from recsys_lora.data.slots import attribute_slots
from recsys_lora.llm.tiny import SPECIAL, train_tokenizer
from recsys_lora.utils.errors import UserError


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["Toys, Games, and more words about toys"] * 9, 300)


@pytest.fixture
def data():
    rows = {"user": [1, 2], "item": [1, 2], "user_id": ["a", "b"], "item_id": ["x", "y"], "label": [1, 0]}
    items = {"item": [1, 2, 3], "item_id": ["x", "y", "z"], "title": ["X", "Y", "Z"]}
    items |= {
        "category": ["Toys|Games", None, f'A "{SPECIAL[0]}"\nB'],
        "price": [3.0, 2.5, None],
        "year": [1999, 2000, 1],
    }
    users = {"user": [1, 2], "user_id": ["a", "b"], "age": [30, None], "year": [1, 2]}
    return PreparedData(Path("nowhere"), {"key": "k"}, *map(pl.DataFrame, (rows, items, users)))


def test_only_what_a_prompt_asks_for(data, tokenizer):
    slots = attribute_slots(data, ["title", "history", "price"], tokenizer, 20)
    assert slots.item == [{"price": "unknown"}, {"price": "3"}, {"price": "2.5"}, {"price": "unknown"}]
    assert slots.user == [{}, {}, {}]


def test_lists_missing_values_and_markup(data, tokenizer):
    slots = attribute_slots(data, ["category", "age"], tokenizer, 20)
    first, second = SPECIAL[0][0], SPECIAL[0][1:]
    assert [entry["category"] for entry in slots.item] == [
        "unknown",
        "Toys, Games",
        "unknown",
        f"A '{first} {second}' B",
    ]
    assert slots.user == [{"age": "unknown"}, {"age": "30"}, {"age": "unknown"}]
    assert slots.counts["category: missing"] == slots.counts["age: missing"] == 1


def test_long_ones_are_cut(data, tokenizer):
    slots = attribute_slots(data, ["category"], tokenizer, 2)
    assert len(tokenizer(slots.item[1]["category"])["input_ids"]) <= 2
    assert slots.counts["category: truncated"] >= 1


def test_a_name_that_both_have_is_refused(data, tokenizer):
    with pytest.raises(UserError, match=r"the slot \{year\} is an attribute of items and of users"):
        attribute_slots(data, ["year"], tokenizer, 20)
