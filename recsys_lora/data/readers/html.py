"""Titles that hold a web page's markup where text should be, or entities such as `&#39;`."""

import html
import re

MARKUP = re.compile(r"(?s)<!--.*?(-->|$)|</?[a-zA-Z][\w-]*(\s[^<>]*)?/?>|<[a-zA-Z][\w-]*\s+[\w-]+=[^<>]*$")
"""A comment, a tag, or a tag with attributes that the end of the title cuts off. `I <3 this` and `x<y` are text."""
_SILENT = re.compile(r"(?is)<(script|style)\b.*?(</\1\s*>|$)")


def has_markup(text: str) -> bool:
    """Return whether a text holds HTML tags."""
    return MARKUP.search(text) is not None


def visible_text(text: str) -> str:
    """Return what a browser would show of a text, on one line: without tags and scripts, entities resolved."""
    return " ".join(html.unescape(MARKUP.sub(" ", _SILENT.sub(" ", text))).split())
