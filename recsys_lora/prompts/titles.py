"""Titles as they come, made fit for a prompt: one line, nothing that could be taken for markup, not too long."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

MISSING = "titles missing"
LINE_BREAKS = "titles with line breaks or control characters"
QUOTES = "titles with double quotes"
SPECIAL = "titles with special tokens"
TRUNCATED = "titles truncated"


def prompt_titles(
    titles: Sequence[str | None], tokenizer: Any, max_tokens: int, unknown: str
) -> tuple[list[str], Counter[str]]:
    """Make a catalogue's titles fit for prompts.

    White space and control characters become single spaces, double quotes (which enclose titles in prompts) single
    ones, the tokenizer's special tokens are broken up, and what is longer than `max_tokens` is cut.

    Args:
        titles: by item number, [0] being the padding; None where the data has none.
        tokenizer: a transformers tokenizer.
        max_tokens: tokens of a title at most.
        unknown: stands for a title that is None. An empty one stays empty.

    Returns:
        The titles, and how many were changed for which reason.
    """
    counts: Counter[str] = Counter()
    special = [token for token in tokenizer.all_special_tokens if token]
    cleaned = [_clean(title, special, unknown, counts) for title in titles[1:]]
    # A token is at least a character: most titles need no count.
    long = [index for index, title in enumerate(cleaned) if len(title) > max_tokens]
    if long:
        ids = tokenizer([cleaned[index] for index in long], add_special_tokens=False)["input_ids"]
        for index, tokens in zip(long, ids, strict=True):
            if len(tokens) > max_tokens:
                cleaned[index] = first_tokens(tokenizer, tokens, max_tokens)
                counts[TRUNCATED] += 1
    return ["", *cleaned], counts


def first_tokens(tokenizer: Any, tokens: Sequence[int], count: int) -> str:
    """Return the text of the first `count` tokens, without a character that was cut in half."""
    text: str = tokenizer.decode(list(tokens[:count]), clean_up_tokenization_spaces=False)
    return text.rstrip("\ufffd").strip()


def _clean(title: str | None, special: Sequence[str], unknown: str, counts: Counter[str]) -> str:
    if title is None:
        counts[MISSING] += 1
        return unknown
    text = "".join(" " if unicodedata.category(letter) in ("Cc", "Co", "Zl", "Zp") else letter for letter in title)
    if text != title:
        counts[LINE_BREAKS] += 1
    text = re.sub(r"\s+", " ", text).strip()
    if '"' in text:
        counts[QUOTES] += 1
        text = text.replace('"', "'")
    broken = text
    for token in special:
        broken = broken.replace(token, f"{token[0]} {token[1:]}")
    if broken != text:
        counts[SPECIAL] += 1
    return broken
