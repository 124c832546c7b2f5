"""The syntax of a prompt's text: named slots in braces, and soft tokens in angle brackets."""

from collections.abc import Mapping, Sequence
from string import Formatter

from recsys_lora.utils.errors import UserError

SOFT = "\ue000"
"""Stands for one soft token in a rendered prompt: a private-use character, removed from all titles."""
TITLE_MARK = "\ue001"
"""Precedes each `{title}` of a prompt that is rendered with marks; not part of its tokens."""
HISTORY, CANDIDATES, TITLE = "history", "candidates", "title"


def slots(text: str) -> list[str]:
    """Return the names of a text's slots.

    Raises:
        UserError: its braces do not match.
    """
    try:
        return [name for _, name, _, _ in Formatter().parse(text) if name is not None]
    except ValueError as error:
        raise UserError(f"{error} in {text!r}: write a brace that is no slot twice") from error


def fill(text: str, values: Mapping[str, str]) -> str:
    """Put values into a text's slots; braces in the values have no meaning.

    Raises:
        UserError: nothing fills a slot.
    """
    parts = []
    for literal, name, _, _ in Formatter().parse(text):
        parts.append(literal)
        if name is not None:
            if name not in values:
                raise UserError(f"nothing fills the slot {{{name}}}: use {', '.join(sorted(values))}")
            parts.append(values[name])
    return "".join(parts)


def ending(text: str) -> str:
    """Return what follows the last slot and the last rendered soft token of a text."""
    *_, (literal, name, _, _) = Formatter().parse(text)
    return "" if name is not None else literal.rpartition(SOFT)[2]


def soft_names(text: str, declared: Sequence[str]) -> list[str]:
    """Return the names of the soft tokens in a text, in their order."""
    found = [(place, name) for name in declared for place in range(len(text)) if text.startswith(f"<{name}>", place)]
    return [name for _, name in sorted(found)]
