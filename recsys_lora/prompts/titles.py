"""Cleaning of raw titles for prompts: one line, nothing that could be taken for markup, not too long."""

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
    """Clean a catalogue's titles for prompts.

    White space and control characters become single spaces, double quotes (which enclose titles in prompts) become
    single quotes, the tokenizer's added tokens are broken up (special or not: the turn markers of a chat model are not
    always declared special), and titles longer than `max_tokens` are cut.

    Args:
        titles: by item number, [0] being the padding; None if the data has none.
        tokenizer: a transformers tokenizer.
        max_tokens: the most tokens of a title.
        unknown: replaces a title that is None; an empty one stays empty.

    Returns:
        The titles, and how many were changed, by reason.
    """
    counts: Counter[str] = Counter()
    added = _added_tokens(tokenizer)
    cleaned = [_clean(title, added, unknown, counts) for title in titles[1:]]
    # A token has at least one character: most titles need not be tokenised.
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


def _added_tokens(tokenizer: Any) -> re.Pattern[str] | None:
    """Return a pattern that matches every token that a tokenizer looks for before it splits text; None for none.

    Runs of white space are left out: a title has none.
    """
    named = {str(token) for token in tokenizer.added_tokens_decoder.values()} | set(tokenizer.all_special_tokens)
    visible = sorted((token for token in named if token.strip()), key=len, reverse=True)  # the longest match first
    # Lower-casing tokenizers match some of their tokens regardless of case.
    return re.compile("|".join(map(re.escape, visible)), re.IGNORECASE) if visible else None


def _broken_up(text: str, added: re.Pattern[str]) -> str:
    """Put a space after the first character of each added token, until none is left."""
    while (broken := added.sub(lambda found: f"{found[0][0]} {found[0][1:]}".rstrip(" "), text)) != text:
        text = broken
    return text


def _clean(title: str | None, added: re.Pattern[str] | None, unknown: str, counts: Counter[str]) -> str:
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
    broken = _broken_up(text, added) if added else text
    if broken != text:
        counts[SPECIAL] += 1
    return broken
