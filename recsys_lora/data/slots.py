"""Attributes of items and users as prompt slots: `{category}` if the items table has a column of that name."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from recsys_lora.data.prepared import PreparedData
from recsys_lora.prompts.titles import prompt_titles
from recsys_lora.utils.errors import UserError

UNKNOWN = "unknown"
Side = Literal["item", "user"]


@dataclass(frozen=True)
class AttributeSlots:
    """The values of attribute slots.

    Attributes:
        item: one mapping of slots per item number; [0] is the padding's.
        user: one per user number.
        counts: how many texts were changed, by reason.
    """

    item: list[dict[str, str]]
    user: list[dict[str, str]]
    counts: Counter[str]


def attribute_slots(data: PreparedData, names: Iterable[str], tokenizer: Any, max_tokens: int) -> AttributeSlots:
    """Clean the attributes that a prompt uses, as titles are cleaned; a missing one is "unknown".

    Args:
        data: the data set.
        names: the prompt's slots; those that are not attributes are ignored.
        tokenizer: a transformers tokenizer.
        max_tokens: the most tokens of an attribute.

    Raises:
        UserError: a slot's name is an attribute of both items and users.
    """
    asked, counts = set(names), Counter[str]()
    if both := asked & set(data.item_attributes) & set(data.user_attributes):
        raise UserError(f"the slot {{{min(both)}}} is an attribute of items and of users: rename one of the columns")
    item = _filled(data, "item", data.num_items, asked, tokenizer, max_tokens, counts)
    user = _filled(data, "user", data.num_users, asked, tokenizer, max_tokens, counts)
    return AttributeSlots(item, user, counts)


def _filled(
    data: PreparedData, side: Side, size: int, asked: set[str], tokenizer: Any, max_tokens: int, counts: Counter[str]
) -> list[dict[str, str]]:
    slots: list[dict[str, str]] = [{} for _ in range(size + 1)]
    attributes = data.item_attributes if side == "item" else data.user_attributes
    for attribute in (name for name in attributes if name in asked):
        column = (data.items if side == "item" else data.users)[attribute]
        texts, changed = prompt_titles(["", *map(_written, column)], tokenizer, max_tokens, UNKNOWN)
        counts.update({reason.replace("titles", f"{attribute}:"): n for reason, n in changed.items()})
        for entry, text in zip(slots, [UNKNOWN, *texts[1:]], strict=True):
            entry[attribute] = text
    return slots


def _written(value: Any) -> str | None:
    """Return an attribute as prompts show it: whole numbers without a decimal point, lists with commas."""
    whole = isinstance(value, float) and value.is_integer()
    return None if value is None else str(int(value) if whole else value).replace("|", ", ")
